"""Orbits: parametrisations of the noise z around a Gaussian draw ε, one row per target.

An orbit of B rows maps parameters x [n, …] of some of its rows to noise: `first` [B, …] is the initial x, `noise(x,
rows)` is z, `state(x, rows)` is a tensor from which another orbit of the kind starts (`start=`) at the same z, and
`unit` [B] is the length of a change of x that moves z by about ‖z‖.
"""

from collections.abc import Iterable

import torch

from ttsnap.errors import BadInput
from ttsnap.noise.maps import MAPS, rotate_patches, rotate_vectors, skew

FORMS = ("auto", "sphere", *MAPS, "free")


class Sphere:
    """z = ‖ε‖·x/‖x‖ for vectors: this sphere is the whole orbit {Qε}, without any Q."""

    def __init__(self, eps: torch.Tensor, start: torch.Tensor | None = None):
        self.unit = eps.norm(dim=-1)
        self.first = eps if start is None else start

    def noise(self, x: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """z [n, D] with the norms of ε."""
        return x * (self.unit[rows, None] / x.norm(dim=-1, keepdim=True))

    state = noise


class Matrices:
    """z = Q·ε with one Q = map(x − xᵀ)·Q₀ per target, for all its p×p patches, or its vector if patch is None."""

    def __init__(self, eps: torch.Tensor, form: str, patch: int | None, start: torch.Tensor | None = None):
        self.eps, self.map, self.patch = eps, MAPS[form], patch
        size = eps.shape[1] * (patch or 1) ** 2
        identity = torch.eye(size, dtype=eps.dtype, device=eps.device).expand(len(eps), -1, -1)
        self.q0 = identity if start is None else start
        self.first = torch.zeros_like(identity)
        self.unit = eps.new_full((len(eps),), 0.5**0.5)  # a radian in a plane

    def state(self, x: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Q [n, D, D]."""
        return self.map(skew(x)) @ self.q0[rows]

    def noise(self, x: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """z, shaped like ε."""
        q, eps = self.state(x, rows), self.eps[rows]
        return rotate_vectors(eps, q) if self.patch is None else rotate_patches(eps, q, self.patch)


class Free:
    """z = x anywhere, starting at ε; use it with a Gaussian prior (`gaussian_prior`)."""

    def __init__(self, eps: torch.Tensor, start: torch.Tensor | None = None):
        self.unit = eps.flatten(1).norm(dim=-1)
        self.first = eps if start is None else start

    def noise(self, x: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """z, shaped like ε."""
        return x

    state = noise


Orbit = Sphere | Matrices | Free


def make_orbit(eps: torch.Tensor, form: str = "auto", patch: int = 2, start: torch.Tensor | None = None) -> Orbit:
    """The orbit of a form around eps [B, D] (vectors) or [B, C, H, W] (latents).

    form "auto": sphere for vectors, exp for latents; patch: for latents. Raises BadInput for sphere on latents, an
    unknown form, a patch size that does not divide the latents, and a `start` of another form or patch.
    """
    if form not in FORMS:
        raise BadInput(f"form {form!r} is unknown: use one of {', '.join(FORMS)}")
    vectors = eps.ndim == 2
    if form == "auto":
        form = "sphere" if vectors else "exp"
    if form == "sphere" and not vectors:
        raise BadInput("form sphere: is for vectors; latents take exp or cayley on patches")
    if form in ("sphere", "free"):
        shape = eps.shape
    else:
        if not vectors and (patch < 1 or eps.shape[-1] % patch or eps.shape[-2] % patch):
            raise BadInput(f"patch {patch}: does not divide latents of {_times(eps.shape[-2:])}")
        size = eps.shape[1] * (1 if vectors else patch**2)
        shape = (len(eps), size, size)
    if start is not None and start.shape != shape:
        found, needed = _times(start.shape[1:]), _times(shape[1:])
        raise BadInput(f"the earlier assignment is of another form or patch ({found}, not {needed})")
    if form == "sphere":
        return Sphere(eps, start)
    return Free(eps, start) if form == "free" else Matrices(eps, form, None if vectors else patch, start)


def _times(sizes: Iterable[int]) -> str:
    return "×".join(map(str, sizes))


def gaussian_prior(z: torch.Tensor) -> torch.Tensor:
    """[B]: KL(N(m, s²) ‖ N(0, 1)) = ½(m² + s² − 1 − log s²), m and s² over the entries of each row of z."""
    flat = z.flatten(1)
    m, s2 = flat.mean(1), flat.var(1, correction=0).clamp_min(1e-12)
    return 0.5 * (m**2 + s2 - 1 - s2.log())


def per_sample(error: torch.Tensor) -> torch.Tensor:
    """The mean over all dimensions but the first: [B]."""
    return error.flatten(1).mean(1)
