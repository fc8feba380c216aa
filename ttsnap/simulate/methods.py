"""The search methods on a reward tensor: best-of-N with pruning (TTSnap, arXiv 2511.22242).

A method is one function `method(tensors, schedule, rng) -> choose`, where
`choose(drawn int [P, D, N], counts) -> chosen int [len(counts), P, D]` is given the indices of N
different candidates for each of P prompts and D draws, and returns, for each n of `counts`, the
index of the one whose image it would return if it started with the first n of them.
`tensors` are the rewards (`RewardTensor`, one or several). To add a method, write such a function
and give it to `simulate(..., methods={**METHODS, "mine": mine})`; if it prunes by a score that you
compute, `pruner` does the rest.
"""

import importlib
import sys
from collections.abc import Callable, Sequence
from functools import reduce
from itertools import pairwise
from pathlib import Path

import numpy as np

from ttsnap.errors import BadInput
from ttsnap.pruning.ranks import best_first, ranks
from ttsnap.pruning.schedule import Schedule, survivors
from ttsnap.storage.tensor import RewardTensor


class Unread(BadInput):
    """A method would look at a step at which the tensor has nothing that it could read."""


Choose = Callable[[np.ndarray, Sequence[int]], np.ndarray]
Method = Callable[[Sequence[RewardTensor], Schedule, np.random.Generator], Choose]


def ttsp(tensors: Sequence[RewardTensor], schedule: Schedule, rng=None) -> Choose:
    """Prune by the base reward of the Tweedie images."""
    return pruner([base_looks(t, schedule.looks) for t in tensors], tensors, schedule)


def ttsnap(tensors: Sequence[RewardTensor], schedule: Schedule, rng=None) -> Choose:
    """Prune by the noise-aware reward, by the base reward at steps that have none."""
    return pruner([noise_aware_looks(t, schedule.looks) for t in tensors], tensors, schedule)


def oracle(tensors: Sequence[RewardTensor], schedule: Schedule, rng=None) -> Choose:
    """Prune by the reward of the final image: the ceiling."""
    looks = [np.repeat(t.base[:, :, -1:], len(schedule.looks), axis=2) for t in tensors]
    return pruner(looks, tensors, schedule)


def random(tensors: Sequence[RewardTensor], schedule: Schedule, rng=None) -> Choose:
    """Prune at random: the floor. As candidates are drawn in random order, the first of them survive."""
    best = pruner([t.base[:, :, :0] for t in tensors], tensors, Schedule())

    def choose(drawn: np.ndarray, counts: Sequence[int]) -> np.ndarray:
        return best(drawn, [[n, *survivors(n, schedule.keep)][-1] for n in counts])

    return choose


METHODS: dict[str, Method] = {"ttsp": ttsp, "ttsnap": ttsnap, "oracle": oracle, "random": random}


def load_method(text: str) -> tuple[str, Method]:
    """The name and the function of NAME=MODULE:FUNCTION; modules of the working folder are found too.

    Raises BadInput for what is not so written, or cannot be imported.
    """
    name, _, place = text.partition("=")
    module, _, function = place.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        return name, getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise BadInput(
            f"--method: {text!r} is not NAME=MODULE:FUNCTION of a function that can be imported ({error})"
        ) from None
    finally:
        sys.path.pop(0)


def base_looks(tensor: RewardTensor, steps: Sequence[int]) -> np.ndarray:
    """float32 [P, C, k]: the base reward at `steps`; `Unread` at a step that was not read."""
    _check_readable(tensor, steps, noise_aware=False)
    return tensor.base[:, :, list(steps)]


def noise_aware_looks(tensor: RewardTensor, steps: Sequence[int]) -> np.ndarray:
    """float32 [P, C, k]: the noise-aware reward at `steps`, base where a step has none; `Unread` where
    neither was read.
    """
    _check_readable(tensor, steps, noise_aware=True)
    missing = fallback_steps(tensor, steps)
    looks = np.empty((*tensor.base.shape[:2], len(steps)), np.float32)
    for look, step in enumerate(steps):
        kind = tensor.base if step in missing else tensor.noise_aware
        looks[:, :, look] = kind[:, :, step]
    return looks


def readable_steps(tensor: RewardTensor, noise_aware: bool) -> list[int]:
    """Steps before the final one that have a base reward, or with `noise_aware` a reward of either kind."""
    steps = set(tensor.base_steps) | set(tensor.levels if noise_aware else ())
    return sorted(steps - {len(tensor.steps) - 1})


def _check_readable(tensor: RewardTensor, steps: Sequence[int], noise_aware: bool) -> None:
    readable = readable_steps(tensor, noise_aware)
    for step in steps:
        if step not in readable:
            kind = "" if noise_aware else " base"
            raise Unread(
                f"step {step}: the tensor has no {tensor.attrs.get('reward', '')}{kind} reward "
                f"there; choose among steps {readable}"
            )


def fallback_steps(tensor: RewardTensor, steps: Sequence[int]) -> list[int]:
    """Those of `steps` that have no noise-aware reward, so that TTSnap reads the base reward."""
    levels = set(tensor.levels)
    return [step for step in steps if step not in levels]


def pruner(looks: Sequence[np.ndarray], tensors: Sequence[RewardTensor], schedule: Schedule) -> Choose:
    """The `choose` that prunes by `looks`, one float [P, C, k] per reward, and ends by the final reward.

    At look j it keeps max(1, round(n·α_j)) of n candidates. With several rewards it keeps those with the smallest
    sum of ranks among the candidates still there, and the first reward decides between equal sums.
    """
    readings = [
        ranks(np.concatenate([look, t.base[:, :, -1:]], axis=2).transpose(2, 0, 1))
        for look, t in zip(looks, tensors, strict=True)
    ]
    start = _prune_by_one(readings[0]) if len(readings) == 1 else _prune_by_sum(readings)

    def choose(drawn: np.ndarray, counts: Sequence[int]) -> np.ndarray:
        prune = start(drawn)
        return np.stack([prune(n, survivors(n, schedule.keep)) for n in counts])

    return choose


def name_by_rank(places: np.ndarray) -> np.ndarray:
    """int32 [..., P·C]: a name p·C + rank for each candidate, from the ranks [..., P, C].

    To keep the best candidates of a prompt is then to keep the smallest names.
    """
    prompts, pool = places.shape[-2:]
    row = np.arange(0, prompts * pool, pool, dtype=np.int32)[:, None]
    return (places + row).reshape(*places.shape[:-2], -1)


def renaming(names: np.ndarray, following: np.ndarray) -> np.ndarray:
    """int32 [P·C]: the table from the candidates' names at one look to any other value of theirs."""
    table = np.empty_like(following)
    table[names] = following
    return table


def prune_named(left: np.ndarray, tables: Sequence[np.ndarray], keep: Sequence[int]) -> np.ndarray:
    """int32 [P, D]: the final name of the one that is left of the names [P, D, n] at the first look.

    `tables` rename from each look to the next and from the last look to the end.
    """
    for table, count in zip(tables, keep, strict=True):
        if count < left.shape[2]:
            left = np.partition(left, count - 1, axis=2)[:, :, :count]
        left = table.take(left)
    return reduce(np.minimum, np.moveaxis(left, 2, 0))


def _prune_by_one(places: np.ndarray):
    """One reward; `places` int32 [k+1, P, C] are its ranks at each look and at the end."""
    prompts, pool = places.shape[1:]
    names = name_by_rank(places)
    tables = [renaming(*pair) for pair in pairwise(names)]
    candidate = renaming(names[-1], np.tile(np.arange(pool, dtype=np.int32), prompts))
    row = np.arange(0, prompts * pool, pool, dtype=np.int32)[:, None, None]

    def start(drawn: np.ndarray):
        first = names[0].take(drawn + row)
        return lambda n, keep: candidate.take(prune_named(first[:, :, :n], tables, keep))

    return start


def _prune_by_sum(readings: list[np.ndarray]):
    """Several rewards; each int32 [k+1, P, C], its ranks at each look and at the end."""

    def order(look: int, left: np.ndarray) -> np.ndarray:
        flat = left.reshape(len(left), -1)
        among = [ranks(-np.take_along_axis(places[look], flat, axis=1).reshape(left.shape)) for places in readings]
        return best_first(among)

    def start(drawn: np.ndarray):
        def prune(n: int, keep: list[int]) -> np.ndarray:
            left = drawn[:, :, :n]
            for look, count in enumerate([*keep, 1]):
                left = np.take_along_axis(left, order(look, left)[:, :, :count], axis=2)
            return left[:, :, 0]

        return prune

    return start
