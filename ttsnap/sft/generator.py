"""One-step generators behind one interface: a GAN's or a diffusers pipeline's noise → latents → pixels."""

from collections.abc import Sequence
from pathlib import Path

import torch

from ttsnap.pruning.seeds import candidate_seed

Condition = tuple[torch.Tensor, ...]  # tensors with one row a sample


class Generator:
    """A one-step generator (noise.assign.OneStep) whose `module` can be finetuned.

    noise_shape: of one sample; image_shape: (C, H, W); version: name and digest of its weights.
    """

    module: torch.nn.Module
    noise_shape: tuple[int, ...]
    image_shape: tuple[int, int, int]
    version: str

    @property
    def device(self) -> torch.device:
        """The device of the module."""
        return next(self.module.parameters()).device

    def embed(self, conditions: Sequence[str]) -> Condition:
        """Prompts or class names as tensors, row by row. Raises BadInput for an unknown class."""
        raise NotImplementedError

    def latents(self, noise: torch.Tensor, condition: Condition) -> torch.Tensor:
        """x̂0 [B, …] of noise [B, …] ~ N(0, 1), float32."""
        raise NotImplementedError

    def pixels(self, latents: torch.Tensor) -> torch.Tensor:
        """Images [B, C, H, W] around [0, 1], not clamped, so that gradients reach the noise."""
        raise NotImplementedError

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """The latents of images [B, C, H, W] in [0, 1]."""
        raise NotImplementedError

    def save(self, folder: str | Path) -> None:
        """Write the whole model, to be opened by `load_generator` (pipelines also by diffusers)."""
        raise NotImplementedError

    def draw(self, seeds: Sequence[int]) -> torch.Tensor:
        """Gaussian noise [n, …], row i a function of seeds[i] alone."""
        rows = [torch.randn(self.noise_shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        return torch.stack(rows).to(self.device)


def base_noise(
    generator: Generator, run_seed: int, keys: Sequence[str], seeds: Sequence[int | None] | None = None
) -> torch.Tensor:
    """ε [n, …] of targets, the same in every cycle: that of a target's own seed, else of run seed and target key."""
    own = seeds or [None] * len(keys)
    drawn = [candidate_seed(run_seed, key, 0) if seed is None else seed for key, seed in zip(keys, own, strict=True)]
    return generator.draw(drawn)


def rows(condition: Condition, index) -> Condition:
    """Some rows of a condition."""
    return tuple(part[index] for part in condition)
