"""Is it still Gaussian noise? Statistics of ε and z = Qε side by side."""

import torch

from ttsnap.noise.maps import orthogonality_error, to_patches


def moments(rows: torch.Tensor) -> dict:
    """Mean, variance, skewness and excess kurtosis over all entries, and extremes over dimensions; rows [N, D]."""
    rows = rows.double()
    mean, var = rows.mean(), rows.var(correction=0)
    standard = (rows - mean) / var.sqrt()
    by_mean, by_var = rows.mean(0), rows.var(0, correction=0)
    return {
        "mean": float(mean),
        "variance": float(var),
        "skewness": float((standard**3).mean()),
        "excess_kurtosis": float((standard**4).mean() - 3),
        "largest_dimension_mean": float(by_mean.abs().max()),
        "dimension_variance": [float(by_var.min()), float(by_var.max())],
        "norm": {"mean": float(rows.norm(dim=1).mean()), "std": float(rows.norm(dim=1).std())},
    }


def spectrum(rows: torch.Tensor) -> list[float]:
    """Eigenvalues of the covariance of rows [N, D], ascending; all are 1 for N(0, I)."""
    rows = rows.double() - rows.double().mean(0)
    return torch.linalg.eigvalsh(rows.T @ rows / max(1, len(rows))).tolist()


def as_rows(noise: torch.Tensor, patch: int) -> torch.Tensor:
    """[N, D]: the vectors that Q multiplies, patches of latents [B, C, H, W] or vectors [B, D] as they are."""
    return noise if noise.ndim == 2 else to_patches(noise, patch).flatten(0, 1)


def compare(eps: torch.Tensor, z: torch.Tensor, patch: int = 1, q: torch.Tensor | None = None) -> dict:
    """ε against z, both [B, D] or [B, C, H, W]: moments, spectra, change of norms, angle, and ‖QᵀQ−I‖ for a given Q."""
    eps, z = eps.detach().cpu(), z.detach().cpu()
    before, after = as_rows(eps, patch), as_rows(z, patch)
    norms = before.double().norm(dim=1), after.double().norm(dim=1)
    cosine = torch.nn.functional.cosine_similarity(eps.flatten(1).double(), z.flatten(1).double())
    return {
        "samples": len(before),
        "dimensions": before.shape[1],
        "before": moments(before) | {"spectrum": spectrum(before)},
        "after": moments(after) | {"spectrum": spectrum(after)},
        "largest_relative_norm_change": float(((norms[1] - norms[0]).abs() / norms[0]).max()),
        "cosine": {"mean": float(cosine.mean()), "min": float(cosine.min())},
        "orthogonality_error": None if q is None else orthogonality_error(q.detach().cpu()),
        "note": "an assigned noise depends on its target: this is no sample of i.i.d. Gaussians",
    }
