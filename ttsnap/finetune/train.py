"""Noise-aware finetuning of one level (DESIGN §3): one pass over its Tweedie images, resumable."""

import hashlib
import json
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from ttsnap.errors import TtsnapError
from ttsnap.finetune import losses
from ttsnap.rewards.base import Reward
from ttsnap.rewards.groups import Groups, autocast, predict
from ttsnap.storage.files import replacing
from ttsnap.training.processes import ALONE, Processes
from ttsnap.training.states import read_state

# Seconds between saved states
SAVE_EVERY = float(os.environ.get("TTSNAP_SAVE_EVERY", 20))


def rate_factor(step: int, steps: int, decay: str, warmup: float) -> float:
    """Learning-rate factor: optional linear warm-up, then from 1 down to 0.5 (DESIGN §3)."""
    warm = round(warmup * steps)
    if step < warm:
        return (step + 1) / warm
    done = (step - warm) / max(1, steps - warm)
    return {
        "linear": 1 - 0.5 * done,
        "cosine": 0.75 + 0.25 * float(np.cos(np.pi * done)),
        "exponential": 0.5**done,
        "constant": 1.0,
    }[decay]


def batches(
    prompts: int, candidates: int, batch_size: int, epochs: int, seed: int
) -> list[list[int]]:
    """The prompts of every optimiser step: whole groups, each prompt once an epoch."""
    rng = np.random.default_rng(seed)
    size = max(1, batch_size // candidates)
    order = [rng.permutation(prompts).tolist() for _ in range(epochs)]
    return [epoch[start : start + size] for epoch in order for start in range(0, prompts, size)]


def train_level(
    reward: Reward,
    parameters: dict[str, torch.nn.Parameter],
    data: Groups,
    settings: dict,
    *,
    seed: int,
    state: Path | None = None,
    name: str = "level",
    processes: Processes = ALONE,
    about: list | None = None,
) -> list[float]:
    """Train `parameters` of `reward` in place; returns the loss of every step.

    settings: the keys of config.Finetune. state: where to keep progress; a run killed half-way and started again with
    the same arguments ends with the same weights; `about`: what else they depend on. An optimiser step takes
    `batch_size` images times `accumulate` times the processes, each of which does its share; how they are split does
    not change the result, but for `standardise: batch`, which is within one forward pass. Raises TtsnapError when the
    loss is not finite.
    """
    candidates = data.targets.shape[1]
    together = processes.count * settings["accumulate"]
    size = max(1, settings["batch_size"] // candidates)
    plan = batches(
        len(data.prompts), candidates, size * candidates * together, settings["epochs"], seed
    )
    optimiser = torch.optim.AdamW(parameters.values(), lr=settings["lr"], weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser,
        lambda step: rate_factor(step, len(plan), settings["decay"], settings["warmup"]),
    )
    identity = _identity(parameters, data, settings, [seed, together, about])
    history = _restore(state, identity, parameters, optimiser, schedule)
    if history and processes.first:
        print(f"{name}: goes on after step {len(history)} of {len(plan)}", file=sys.stderr)
    saved = time.monotonic()
    reward.train()
    todo = [own_parts(step, size, processes) for step in plan[len(history) :]]
    device = next(iter(parameters.values())).device
    loaded = ahead(
        lambda numbers: data.batch(numbers, device), [part for step in todo for part in step]
    )
    steps = zip(plan[len(history) :], todo, strict=True)
    for whole, own in tqdm(
        steps, desc=name, mininterval=5, total=len(todo), disable=not processes.first
    ):
        optimiser.zero_grad(set_to_none=True)
        loss = _backward(reward, data, settings, whole, own, loaded, device)
        _add_up_gradients(parameters, loss, processes)
        if not torch.isfinite(loss):
            raise TtsnapError(
                f"{name}: loss is {loss.item()} at step {len(history)}; lower the learning rate"
            )
        torch.nn.utils.clip_grad_norm_(parameters.values(), 5.0)
        optimiser.step()
        schedule.step()
        history.append(loss.item())
        if state and processes.first and time.monotonic() - saved > SAVE_EVERY:
            _save(state, identity, parameters, optimiser, schedule, history)
            saved = time.monotonic()
    reward.eval()
    return history


def predict_together(
    reward: Reward, data: Groups, device, processes: Processes = ALONE
) -> np.ndarray:
    """Rewards float32 [P,C] of every image, each process reading its share of the prompts."""
    own = list(range(processes.rank, len(data.prompts), processes.count))
    part = Groups(
        [data.prompts[p] for p in own], lambda place: data.images(own[place]), data.targets[own]
    )
    values = dict(zip(own, predict(reward, part, device), strict=True)) if own else {}
    values = processes.gather(values)
    return np.stack([values[p] for p in range(len(data.prompts))])


def own_parts(step: list[int], size: int, processes: Processes) -> list[list[int]]:
    """The prompts of each forward pass that this process does of a step."""
    parts = [step[start : start + size] for start in range(0, len(step), size)]
    return parts[processes.rank :: processes.count]


def ahead(load: Callable, items: list) -> Iterator:
    """load(item) of each item, in order; the next is read and decoded while the device works on this one."""
    with ThreadPoolExecutor(1) as reader:
        coming = deque(reader.submit(load, item) for item in items[:2])
        for following in [*items[2:], None, None][: len(items)]:
            done = coming.popleft().result()
            if following is not None:
                coming.append(reader.submit(load, following))
            yield done


def _backward(reward, data, settings, whole, own, loaded, device) -> torch.Tensor:
    """Gradients of this process's share of a step's loss; the share itself."""
    over, kind = settings["standardise"], settings["loss"]
    all_terms = losses.terms(kind, torch.from_numpy(data.targets[whole]))
    total = torch.zeros((), device=device)
    for numbers in own:
        images, prompts = next(loaded)
        target = torch.from_numpy(data.targets[numbers]).to(device)
        with autocast(device):
            predicted = reward(images, prompts).float().view(target.shape)
        if kind == "mse":
            loss = losses.mse(predicted, target, over)
        else:
            loss = losses.preference(predicted, target, over, settings["temperature"])
        loss = loss * (losses.terms(kind, target) / max(1, all_terms))
        loss.backward()
        total += loss.detach()
    return total


def _add_up_gradients(parameters: dict, loss: torch.Tensor, processes: Processes) -> None:
    """Sum gradients and loss over the processes; each holds those of its own share."""
    if processes.count > 1:
        for parameter in parameters.values():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        processes.add_up([*(p.grad for p in parameters.values()), loss])


def _identity(parameters: dict, data: Groups, settings: dict, seed: list) -> str:
    """What a saved state belongs to: start weights, targets, prompts and settings."""
    digest = hashlib.sha256(json.dumps([settings, seed, data.prompts], sort_keys=True).encode())
    digest.update(np.ascontiguousarray(data.targets).tobytes())
    for value in parameters.values():
        digest.update(value.detach().cpu().numpy().tobytes())
    return digest.hexdigest()


def _save(state: Path, identity: str, parameters, optimiser, schedule, history) -> None:
    with replacing(state) as temporary:
        torch.save(
            {
                "identity": identity,
                "parameters": {name: value.detach() for name, value in parameters.items()},
                "optimiser": optimiser.state_dict(),
                "schedule": schedule.state_dict(),
                "history": history,
            },
            temporary,
        )


def _restore(state: Path | None, identity: str, parameters, optimiser, schedule) -> list[float]:
    """Continue from a saved state when it belongs to this very run; returns the losses so far."""
    parts = ("parameters", "optimiser", "schedule", "history")
    if (saved := read_state(state, identity, parts, parameters)) is None:
        return []
    with torch.no_grad():
        for name, value in saved["parameters"].items():
            parameters[name].copy_(value)
    optimiser.load_state_dict(saved["optimiser"])
    schedule.load_state_dict(saved["schedule"])
    return saved["history"]
