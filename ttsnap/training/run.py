"""One training: its identity, its progress, and its processes' shares."""

import hashlib
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from ttsnap.errors import TtsnapError
from ttsnap.storage.files import replacing
from ttsnap.training.processes import ALONE, Processes
from ttsnap.training.states import read_state
from ttsnap.training.weights import Average

SAVE_EVERY = float(os.environ.get("TTSNAP_SAVE_EVERY", 20))  # seconds between saved states
Item = TypeVar("Item")


def run_identity(parameters: dict[str, nn.Parameter], about: object, *arrays: np.ndarray) -> str:
    """A digest of everything that a training depends on: its initial weights, `about` (JSON) and arrays."""
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for array in (*arrays, *(value.detach().cpu().numpy() for value in parameters.values())):
        digest.update(array.tobytes())
    return digest.hexdigest()


class TrainingRun:
    """Updates of some parameters, in place: counted, checked, saved, and shared among processes.

    A killed run that is started again with the same arguments resumes from its saved state and ends with the same
    weights.

    name        in progress bars and errors
    identity    see `run_identity`; a saved state with another identity is ignored
    clip        largest norm of the gradient
    schedule    of the learning rate, average: of the parameters; both advance with every update
    state       where progress is saved; None: nowhere
    processes   each computes its share of every update; only the first writes files and shows progress
    """

    def __init__(
        self,
        name: str,
        parameters: dict[str, nn.Parameter],
        optimiser: torch.optim.Optimizer,
        identity: str,
        *,
        clip: float,
        schedule: torch.optim.lr_scheduler.LRScheduler | None = None,
        average: Average | None = None,
        state: str | Path | None = None,
        processes: Processes = ALONE,
    ):
        self.name, self.identity, self.clip, self.state = name, identity, clip, state
        self.parameters, self.processes = parameters, processes
        parts = {"optimiser": optimiser, "schedule": schedule, "average": average}
        self.parts = {key: part for key, part in parts.items() if part is not None}
        self.history: list[list[float]] = []  # the losses of each update
        self.saved = time.monotonic()
        self._restore()

    def remaining(self, plan: Sequence[Item]) -> Iterator[tuple[int, Item]]:
        """(number, item) of each remaining update of the plan, numbered from 1; shows and saves progress."""
        done, first = len(self.history), self.processes.first
        if done and first:
            print(f"{self.name}: goes on after update {done} of {len(plan)}", file=sys.stderr)
        bar = tqdm(plan[done:], self.name, len(plan), initial=done, mininterval=5, disable=not first)
        for number, item in enumerate(bar, start=done + 1):
            yield number, item
            if time.monotonic() - self.saved > SAVE_EVERY:
                self.save()

    def update(self, losses: Callable[..., torch.Tensor], *arguments) -> None:
        """One step of the optimiser.

        losses(*arguments): adds the gradients of this process's share of the loss to the parameters, and returns its
        share of the terms that add up to the loss, [n]. Raises TtsnapError where a term is not finite.
        """
        optimiser, parameters = self.parts["optimiser"], self.parameters.values()
        optimiser.zero_grad(set_to_none=True)
        found = losses(*arguments)
        if self.processes.count > 1:
            for parameter in parameters:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
            self.processes.add_up([*(parameter.grad for parameter in parameters), found])
        values = found.tolist()
        if not all(map(math.isfinite, values)):
            raise TtsnapError(
                f"{self.name}: loss is {sum(values)} at update {len(self.history) + 1}; lower the learning rate"
            )
        nn.utils.clip_grad_norm_(parameters, self.clip)
        optimiser.step()
        if schedule := self.parts.get("schedule"):
            schedule.step()
        if average := self.parts.get("average"):
            average.update()
        self.history.append(values)

    def save(self) -> None:
        """Write the state, if there is a place for it."""
        self.saved = time.monotonic()
        if not (self.state and self.processes.first):
            return
        saved = {"parameters": {name: value.detach() for name, value in self.parameters.items()}}
        saved |= {key: part.state_dict() for key, part in self.parts.items()}
        with replacing(self.state) as temporary:
            torch.save({**saved, "identity": self.identity, "history": self.history}, temporary)

    def _restore(self) -> None:
        """Resume from the saved state, if it is of this run."""
        saved = read_state(self.state, self.identity, ("parameters", *self.parts, "history"), self.parameters)
        if saved is None:
            return
        with torch.no_grad():
            for name, value in saved["parameters"].items():
                self.parameters[name].copy_(value)
        for key, part in self.parts.items():
            part.load_state_dict(saved[key])
        self.history = saved["history"]
