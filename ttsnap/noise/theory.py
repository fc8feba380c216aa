"""Does an orthogonal map fixed beforehand leave Gaussian noise Gaussian? A check by sampling."""

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch

from ttsnap.noise.maps import MAPS, rotate_vectors, skew


class Rotated(NamedTuple):
    """Noise eps [N, D] ~ N(0, I) and z [N, D] = Q·eps, with one q [D, D] of the map `name`."""

    name: str
    eps: torch.Tensor
    z: torch.Tensor
    q: torch.Tensor


def rotated_samples(samples: int, dimensions: int, scale: float = 1.0, seed: int = 0) -> Iterator[Rotated]:
    """One Gaussian draw rotated by each of MAPS, with Q from one random A with entries N(0, scale²)."""
    generator = torch.Generator().manual_seed(seed)
    eps = torch.randn(samples, dimensions, generator=generator)
    a = torch.randn(dimensions, dimensions, generator=generator) * scale
    for name, to_q in MAPS.items():
        q = to_q(skew(a))
        yield Rotated(name, eps, rotate_vectors(eps, q), q)


def agrees(comparison: Mapping) -> bool:
    """Whether z is distributed like N(0, I), by the figures of `diagnostics.compare`.

    Moments must lie within five standard errors, eigenvalues of the covariance within the edge of the Marchenko–Pastur
    law plus five standard errors, and norms must be preserved.
    """
    n, d = comparison["samples"], comparison["dimensions"]
    after, five = comparison["after"], 5 / math.sqrt(n)
    low, high = after["dimension_variance"]
    edge = 2 * math.sqrt(d / n) + d / n + five
    return bool(
        abs(after["mean"]) < five / math.sqrt(d)
        and abs(after["variance"] - 1) < five * math.sqrt(2 / d)
        and after["largest_dimension_mean"] < five
        and max(1 - low, high - 1) < five * math.sqrt(2)
        and max(1 - after["spectrum"][0], after["spectrum"][-1] - 1) < edge
        and comparison["largest_relative_norm_change"] < 1e-4
        and comparison["orthogonality_error"] < 1e-4
    )
