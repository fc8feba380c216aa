"""Reward noise optimisation: the noise on its orbit whose image has the highest differentiable reward."""

from collections.abc import Callable

import torch

from ttsnap.noise.assign import DESCENT_SETTINGS, OneStep, regulariser
from ttsnap.noise.descend import Optimum, descend
from ttsnap.noise.orbits import make_orbit


def optimise_reward(
    generator: OneStep,
    reward: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    eps: torch.Tensor,
    condition,
    settings: dict,
) -> Optimum:
    """Minimise −reward(image) + w_drift·MSE(z, ε) + w_prior·KL from ε [B, …].

    reward(images [n, C, H, W], rows [n]) → [n]: images around [0, 1], not clamped, since a clamped pixel has no
    gradient; rows: the indices of their samples. settings: the keys of settings.sft.Optimise.
    """

    def objective(z: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        latents = generator.latents(z, [value[rows] for value in condition])
        return regulariser(z, eps[rows], settings) - reward(generator.pixels(latents), rows)

    orbit = make_orbit(eps, settings["form"], settings["patch"])
    return descend(orbit, objective, **{key: settings[key] for key in DESCENT_SETTINGS})
