"""Objective checkers: modules that decide without a learned model whether an image shows its prompt."""

import importlib
from collections.abc import Callable

import numpy as np

from ttsnap.errors import BadInput
from ttsnap.settings.kinds import CHECKERS, Checker
from ttsnap.storage.image_shards import Shard
from ttsnap.storage.scores import Scores


def checker(name: Checker) -> Callable[[np.ndarray, list[str]], tuple[np.ndarray, np.ndarray]]:
    """A checker's check(images uint8 [n,H,W,3], n prompts) → accepted bool [n], fidelity float [n]."""
    return importlib.import_module(CHECKERS[name]).check


def check_shard(shard: Shard, name: Checker) -> Scores:
    """A checker's verdict on every image of a shard: 1 accepted, 0 rejected.

    Raises BadInput for a prompt that the checker cannot read.
    """
    check, prompts = checker(name), [p for p in shard.prompts for _ in range(shard.candidates)]
    verdicts = []
    for look in shard.looks:
        images = shard.images(look)
        try:
            accepted, _ = check(images.reshape(-1, *images.shape[2:]), prompts)
        except ValueError as error:
            raise BadInput(f"{shard.path}: {error}; check images of prompts that the checker can read") from None
        verdicts.append(accepted.reshape(images.shape[:2]))
    values = np.stack(verdicts, axis=2).astype(np.float32)
    about = {"kind": "checker", "reward": "checker", "version": name}
    return Scores.from_shard(shard, values, shard.looks, about)
