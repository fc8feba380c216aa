"""The E-step: for each target, the noise on its orbit that a one-step generator maps closest to it (DESIGN §3)."""

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import torch

from ttsnap.noise.descend import Found, descend
from ttsnap.noise.orbits import gaussian_prior, make_orbit, per_sample, turned_starts

Objective = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # (z [n, …], rows [n]) → [n]
HOW = ("steps", "optimiser", "lr", "tolerance")  # the settings of the descent


TRIES = {
    4: 8
}  # random starts of latents [B, C, H, W]; vectors end where they would without, and later


class OneStep(Protocol):
    """What assignment needs of a one-step generator."""

    def latents(self, noise: torch.Tensor, condition) -> torch.Tensor:
        """x̂0 [B, …] of noise [B, …], differentiable; condition: tensors with B rows."""

    def pixels(self, latents: torch.Tensor) -> torch.Tensor:
        """Images [B, C, H, W] around [0, 1], not clamped, differentiable."""


def reconstruction(
    generator: OneStep,
    noise: torch.Tensor,
    condition,
    target_latents: torch.Tensor,
    targets: torch.Tensor,
    w_latent: float,
    w_pixel: float,
) -> torch.Tensor:
    """[B]: w_lat·MSE(latent) + w_pix·L1(pixels) of every sample; images [B, C, H, W] in [0, 1]."""
    latents = generator.latents(noise, condition)
    value = w_latent * per_sample((latents - target_latents).square())
    if w_pixel:
        value = value + w_pixel * per_sample((generator.pixels(latents) - targets).abs())
    return value


def assign(
    generator: OneStep,
    eps: torch.Tensor,
    condition,
    target_latents: torch.Tensor,
    targets: torch.Tensor,
    settings: dict,
    start: torch.Tensor | None = None,
) -> Found:
    """Assign a noise to each target: w_lat·MSE(latent) + w_pix·L1(pixels) + w_drift·MSE(z, ε) + w_prior·KL.

    eps [B, …]: the targets' base noise; start: the `state` of an earlier assignment, to go on from. Without one, the
    descent begins at ε or, where the objective is lower, at ε turned by one of `tries` random rotations. settings: the
    keys of sft.settings.Assign. The objective found is never above that of the start or of ε.
    """

    weights = settings["latent"], settings["pixel"]

    def objective(z: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        part = [value[rows] for value in condition]
        value = reconstruction(generator, z, part, target_latents[rows], targets[rows], *weights)
        return value + regulariser(z, eps[rows], settings)

    on = {"form": settings["form"], "patch": settings["patch"]}
    before = None
    if start is None:
        tries = settings["tries"] if settings["tries"] is not None else TRIES.get(eps.ndim, 0)
        before, start = lowest_start(eps, on, objective, tries)
    orbit = make_orbit(eps, **on, start=start)
    found = descend(orbit, objective, **{key: settings[key] for key in HOW})
    return found if before is None else replace(found, start=before)


@torch.no_grad()
def lowest_start(
    eps: torch.Tensor, on: dict, objective: Objective, tries: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """(objective [B] at ε, state [B, …] where it is lowest: there or at one of `tries` random rotations)."""
    rows = torch.arange(len(eps), device=eps.device)
    for number, start in enumerate([None, *turned_starts(eps, **on, count=tries)]):
        orbit = make_orbit(eps, **on, start=start)
        values = objective(orbit.noise(orbit.first, rows), rows)
        state = orbit.state(orbit.first, rows)
        if number == 0:
            before, lowest, best = values, values.clone(), state.clone()
        better = values < lowest
        lowest[better], best[better] = values[better], state[better]
    return before, best


def regulariser(z: torch.Tensor, eps: torch.Tensor, settings: dict) -> torch.Tensor | float:
    """[B]: w_drift·MSE(z, ε) + w_prior·KL."""
    value = 0.0
    if settings["drift"]:
        value = value + settings["drift"] * per_sample((z - eps).square())
    if settings["prior"]:
        value = value + settings["prior"] * gaussian_prior(z)
    return value
