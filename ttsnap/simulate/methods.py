"""The search methods on a reward tensor: best-of-N with pruning (TTSnap, arXiv 2511.22242).

A method is a function `method(tensors, schedule, rng) -> choose`, where `tensors` are the rewards (one `RewardTensor`
or several) and `choose(drawn int [P, D, N], counts) -> chosen int [len(counts), P, D]` gets the indices of N different
candidates for each of P prompts and D draws. For each n of `counts` it returns the index of the candidate whose image
the search would return if it started with the first n of them. To add a method, write such a function and pass it to
`simulate(..., methods={**METHODS, "mine": mine})`; if it prunes by a score that you compute, `pruner` does the rest.
"""

import importlib
import sys
from collections.abc import Callable, Sequence
from functools import partial, reduce
from itertools import pairwise
from pathlib import Path

import numpy as np

from ttsnap.errors import BadInput
from ttsnap.pruning.ranks import best_first, ranks
from ttsnap.pruning.schedule import Look, Schedule, look_name, look_names, survivors
from ttsnap.storage.tensor import RewardTensor


class Unread(BadInput):
    """The tensor has no reward that a method could read at one of its looks."""


Choose = Callable[[np.ndarray, Sequence[int]], np.ndarray]
Method = Callable[[Sequence[RewardTensor], Schedule, np.random.Generator], Choose]


def ttsp(tensors: Sequence[RewardTensor], schedule: Schedule, rng=None) -> Choose:
    """Prune by the base reward of the Tweedie images."""
    return pruner([base_looks(t, schedule.looks) for t in tensors], tensors, schedule)


def ttsnap(tensors: Sequence[RewardTensor], schedule: Schedule, rng=None) -> Choose:
    """Prune by the noise-aware reward, or by the base reward at looks without one."""
    return pruner([noise_aware_looks(t, schedule.looks) for t in tensors], tensors, schedule)


def oracle(tensors: Sequence[RewardTensor], schedule: Schedule, rng=None) -> Choose:
    """Prune by the reward of the final image: the ceiling."""
    looks = [np.repeat(t.base[:, :, -1:], len(schedule.looks), axis=2) for t in tensors]
    return pruner(looks, tensors, schedule)


def random(tensors: Sequence[RewardTensor], schedule: Schedule, rng=None) -> Choose:
    """Prune at random: the floor. Candidates come in random order, so the first ones survive."""
    best = pruner([t.base[:, :, :0] for t in tensors], tensors, Schedule())

    def choose(drawn: np.ndarray, counts: Sequence[int]) -> np.ndarray:
        return best(drawn, [[n, *survivors(n, schedule.keep)][-1] for n in counts])

    return choose


METHODS: dict[str, Method] = {"ttsp": ttsp, "ttsnap": ttsnap, "oracle": oracle, "random": random}


def load_method(text: str) -> tuple[str, Method]:
    """The name and the function of NAME=MODULE:FUNCTION; the module may be in the working folder.

    Raises BadInput if the text has another form or the function cannot be imported.
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


def base_looks(tensor: RewardTensor, looks: Sequence[Look]) -> np.ndarray:
    """float32 [P, C, k]: the base reward at `looks`. Raises Unread for a look without one."""
    _check_readable(tensor, looks, noise_aware=False)
    return tensor.base[:, :, tensor.places(looks)]


def noise_aware_looks(tensor: RewardTensor, looks: Sequence[Look]) -> np.ndarray:
    """float32 [P, C, k]: the noise-aware reward at `looks`, or base. Raises Unread for a look with neither."""
    _check_readable(tensor, looks, noise_aware=True)
    places, levels = tensor.places(looks), set(tensor.levels)
    values = tensor.base[:, :, places]
    for at, (look, place) in enumerate(zip(looks, places, strict=True)):
        if look in levels:
            values[:, :, at] = tensor.noise_aware[:, :, place]
    return values


def readable_looks(tensor: RewardTensor, noise_aware: bool) -> list[Look]:
    """Looks before the final image with a base reward, or with `noise_aware` a reward of either kind; drafts first."""
    known = {*tensor.read, *(tensor.levels if noise_aware else ())}
    return [look for look in tensor.looks[:-1] if look in known]


def _check_readable(tensor: RewardTensor, looks: Sequence[Look], noise_aware: bool) -> None:
    readable = readable_looks(tensor, noise_aware)
    for look in looks:
        if look not in readable:
            kind = "" if noise_aware else " base"
            raise Unread(
                f"{look_name(look)}: the tensor has no {tensor.attrs.get('reward', '')}{kind} reward "
                f"there; choose among {look_names(readable) or 'no looks'}"
            )


def fallback_looks(tensor: RewardTensor, looks: Sequence[Look]) -> list[Look]:
    """Those of `looks` without a noise-aware reward, where TTSnap reads the base reward."""
    levels = set(tensor.levels)
    return [look for look in looks if look not in levels]


def pruner(looks: Sequence[np.ndarray], tensors: Sequence[RewardTensor], schedule: Schedule) -> Choose:
    """The `choose` that prunes by `looks`, one float [P, C, k] per reward, and picks by the final reward.

    Look j keeps max(1, round(n·α_j)) of n candidates. Several rewards go by the sum of ranks among the candidates still
    in the search, with ties broken by the first reward.
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
    """int32 [..., P·C]: the name p·C + rank of each candidate, from ranks [..., P, C].

    Keeping the best candidates of a prompt then means keeping the smallest names.
    """
    prompts, pool = places.shape[-2:]
    row = np.arange(0, prompts * pool, pool, dtype=np.int32)[:, None]
    return (places + row).reshape(*places.shape[:-2], -1)


def renaming(names: np.ndarray, following: np.ndarray) -> np.ndarray:
    """int32 [P·C]: a lookup table from the candidates' names at one look to another value of each."""
    table = np.empty_like(following)
    table[names] = following
    return table


def prune_named(left: np.ndarray, tables: Sequence[np.ndarray], keep: Sequence[int]) -> np.ndarray:
    """int32 [P, D]: the final name of the winner among the names [P, D, n] at the first look.

    tables: renamings from each look to the next, and from the last look to the end; keep: survivors of each look.
    """
    for table, count in zip(tables, keep, strict=True):
        if count < left.shape[2]:
            left = np.partition(left, count - 1, axis=2)[:, :, :count]
        left = table.take(left)
    return reduce(np.minimum, np.moveaxis(left, 2, 0))


def _prune_by_one(places: np.ndarray):
    """For one reward, whose ranks at each look and at the end are `places` int32 [k+1, P, C]."""
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
    """For several rewards: the ranks of each at each look and at the end, int32 [k+1, P, C]."""

    def prune(drawn: np.ndarray, n: int, keep: list[int]) -> np.ndarray:
        left = drawn[:, :, :n]
        for look, count in enumerate([*keep, 1]):
            flat = left.reshape(len(left), -1)
            among = [ranks(-np.take_along_axis(places[look], flat, axis=1).reshape(left.shape)) for places in readings]
            left = np.take_along_axis(left, best_first(among)[:, :, :count], axis=2)
        return left[:, :, 0]

    return lambda drawn: partial(prune, drawn)
