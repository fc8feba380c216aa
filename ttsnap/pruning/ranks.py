"""Candidates from best to worst, by one reward or by the sum of their ranks under several."""

from collections.abc import Sequence

import numpy as np


def ranks(scores: np.ndarray) -> np.ndarray:
    """int32 [..., C], the shape of the scores: 0 for the highest; the first of equal scores ranks higher."""
    bits = (0.0 - scores.astype(np.float32)).view(np.int32)
    ascending = np.where(bits < 0, bits ^ 0x7FFFFFFF, bits).astype(np.int64)
    places = np.arange(scores.shape[-1])
    order = np.sort((ascending << 32) | places, axis=-1) & 0xFFFFFFFF
    placed = np.empty(scores.shape, np.int32)
    np.put_along_axis(placed, order, np.broadcast_to(places, scores.shape), axis=-1)
    return placed


def best_first(places: Sequence[np.ndarray]) -> np.ndarray:
    """int [..., n]: the positions of n candidates from best to worst.

    places: for each reward its `ranks` [..., n]. Several rewards order by the sum of ranks, and the first reward breaks
    ties (`ttsp_multi` of TTSnap's code, arXiv 2511.22242).
    """
    return np.argsort(sum(places) * places[0].shape[-1] + places[0], axis=-1)
