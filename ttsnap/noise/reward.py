"""Reward noise optimisation: the noise on its orbit whose image a differentiable reward likes best (DESIGN §3)."""

from collections.abc import Callable

import torch

from ttsnap.noise.assign import OneStep
from ttsnap.noise.descend import Found, descend
from ttsnap.noise.orbits import gaussian_prior, make_orbit, per_sample


def optimise_reward(
    generator: OneStep,
    reward: Callable[[torch.Tensor], torch.Tensor],
    eps: torch.Tensor,
    condition,
    settings: dict,
    on_step: Callable[[int, torch.Tensor], object] | None = None,
) -> Found:
    """Minimise −reward(image) + w_drift·MSE(z, ε) + w_prior·KL from ε [B, …].

    reward: images [B, C, H, W] around [0, 1], as decoded, not clamped: a clamped pixel has no gradient. settings: the
    keys of sft.settings.Optimise.
    """

    def objective(z: torch.Tensor) -> torch.Tensor:
        value = -reward(generator.pixels(generator.latents(z, condition)))
        if settings["drift"]:
            value = value + settings["drift"] * per_sample((z - eps).square())
        if settings["prior"]:
            value = value + settings["prior"] * gaussian_prior(z)
        return value

    orbit = make_orbit(eps, settings["form"], settings["patch"])
    return descend(orbit, objective, steps=settings["steps"], lr=settings["lr"], on_step=on_step)
