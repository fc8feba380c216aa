"""The E-step: for each target, the noise on its orbit that a one-step generator maps closest to it."""

from typing import Protocol

import torch

from ttsnap.noise.descend import Optimum, descend
from ttsnap.noise.orbits import gaussian_prior, make_orbit, per_sample

DESCENT_SETTINGS = ("steps", "optimiser", "lr", "tolerance")


class OneStep(Protocol):
    """The interface of a one-step generator."""

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
    """[B]: w_lat·MSE(latent) + w_pix·L1(pixels) of each sample; targets: images [B, C, H, W] in [0, 1]."""
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
) -> Optimum:
    """Assign a noise to each target: minimise w_lat·MSE(latent) + w_pix·L1(pixels) + w_drift·MSE(z, ε) + w_prior·KL.

    eps [B, …]: the targets' base noise; start: the `state` of an earlier assignment to continue from; settings: the
    keys of settings.sft.Assign. The objective never ends above its value at the start.
    """

    def objective(z: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        inputs = [value[rows] for value in condition], target_latents[rows], targets[rows]
        loss = reconstruction(generator, z, *inputs, settings["latent"], settings["pixel"])
        return loss + regulariser(z, eps[rows], settings)

    orbit = make_orbit(eps, settings["form"], settings["patch"], start)
    return descend(orbit, objective, **{key: settings[key] for key in DESCENT_SETTINGS})


def regulariser(z: torch.Tensor, eps: torch.Tensor, settings: dict) -> torch.Tensor | float:
    """[B]: w_drift·MSE(z, ε) + w_prior·KL."""
    value = 0.0
    if settings["drift"]:
        value = value + settings["drift"] * per_sample((z - eps).square())
    if settings["prior"]:
        value = value + settings["prior"] * gaussian_prior(z)
    return value
