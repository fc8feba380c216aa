"""How good a one-step generator is: its images, their distance from targets, features against real ones."""

import numpy as np
import torch

from ttsnap.sft.generator import Condition, Generator, rows


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """‖μ_a−μ_b‖² + tr(Σ_a + Σ_b − 2(Σ_aΣ_b)^½) of features [N, D] and [M, D] (Heusel et al. 2017, FID).

    tr (Σ_aΣ_b)^½ is the sum of the singular values of Σ_a^½·Σ_b^½.
    """
    a, b = np.asarray(a, float), np.asarray(b, float)
    gap = a.mean(0) - b.mean(0)
    ca, cb = (np.atleast_2d(np.cov(x, rowvar=False)) for x in (a, b))
    cross = np.linalg.svd(_root(ca) @ _root(cb), compute_uv=False).sum()
    return float(max(0.0, gap @ gap + np.trace(ca) + np.trace(cb) - 2 * cross))


def _root(c: np.ndarray) -> np.ndarray:
    """The symmetric square root of a covariance."""
    values, vectors = np.linalg.eigh(c)
    return (vectors * np.sqrt(values.clip(0))) @ vectors.T


@torch.inference_mode()
def generate_images(
    generator: Generator, noise: torch.Tensor, condition: Condition, batch_size: int = 64
) -> torch.Tensor:
    """Images [n, C, H, W] clamped to [0, 1], on the CPU."""
    parts = []
    for at in range(0, len(noise), batch_size):
        part = slice(at, at + batch_size)
        latents = generator.latents(noise[part].to(generator.device), rows(condition, part))
        parts.append(generator.pixels(latents).clamp(0, 1).float().cpu())
    return torch.cat(parts)


def reconstruction_figures(images: torch.Tensor, targets: torch.Tensor, losses: list[float]) -> dict:
    """Mean PSNR (dB), MSE and L1 of images and their targets [n, C, H, W] in [0, 1], and the mean objective."""
    mse = (images - targets).square().flatten(1).mean(1)
    return {
        "samples": len(images),
        "psnr": float((-10 * mse.clamp_min(1e-10).log10()).mean()),
        "mse": float(mse.mean()),
        "l1": float((images - targets).abs().mean()),
        "objective": float(np.mean(losses)),
    }


def to_bytes(images: torch.Tensor) -> np.ndarray:
    """[n, C, H, W] in [0, 1] → uint8 [n, H, W, C]."""
    return (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
