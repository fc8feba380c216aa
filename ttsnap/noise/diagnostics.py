"""Is it still Gaussian noise? ε and z = Qε side by side, as numbers and as a figure."""

from pathlib import Path

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
    """Eigenvalues of the covariance of rows [N, D], ascending; of the identity all are 1."""
    rows = rows.double() - rows.double().mean(0)
    return torch.linalg.eigvalsh(rows.T @ rows / max(1, len(rows))).tolist()


def as_rows(noise: torch.Tensor, patch: int) -> torch.Tensor:
    """The vectors that a Q multiplies: vectors as they are, latents [B, C, H, W] as patches. [N, D]."""
    return noise if noise.ndim == 2 else to_patches(noise, patch).flatten(0, 1)


def compare(
    eps: torch.Tensor, z: torch.Tensor, patch: int = 1, q: torch.Tensor | None = None
) -> dict:
    """ε against z, both [B, D] or [B, C, H, W]: moments, spectra, norms kept, angle, and ‖QᵀQ−I‖ where there is a Q."""
    before, after = (as_rows(x.detach().cpu(), patch) for x in (eps, z))
    norms = before.double().norm(dim=1), after.double().norm(dim=1)
    flat = eps.detach().cpu().flatten(1).double(), z.detach().cpu().flatten(1).double()
    cosine = torch.nn.functional.cosine_similarity(*flat)
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


def draw(eps: torch.Tensor, z: torch.Tensor, found: dict, path: str | Path, patch: int = 1) -> None:
    """The comparison as PNG: histogram against N(0, 1), norms, covariance spectra, per-dimension moments."""
    from ttsnap.report.figures import STYLE, plt, save_figure

    rows = {"ε": as_rows(eps.detach().cpu(), patch), "z": as_rows(z.detach().cpu(), patch)}
    looks = {"ε": dict(color="#404040", ls="-"), "z": dict(color="#D55E00", ls="--")}
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 4, figsize=(15, 3.6), layout="constrained")
        grid = torch.linspace(-4, 4, 81)
        for (name, values), kind in zip(rows.items(), ("before", "after"), strict=True):
            options = dict(histtype="step", density=True, label=name, **looks[name])
            axes[0].hist(values.flatten().numpy(), bins=grid.numpy(), **options)
            norms = values.norm(dim=1).numpy()
            bins = 30 if norms.max() - norms.min() > 1e-4 * norms.max() else 1
            axes[1].hist(norms, bins=bins, **options)
            axes[2].plot(found[kind]["spectrum"], label=name, **looks[name])
            axes[3].plot(values.mean(0).numpy(), lw=1, label=f"mean of {name}", **looks[name])
            variances = values.var(0, correction=0).numpy()
            axes[3].plot(variances, lw=2, label=f"variance of {name}", **looks[name])
        density = torch.exp(-(grid**2) / 2) / (2 * torch.pi) ** 0.5
        axes[0].plot(grid, density, color="#0072B2", lw=1, label="N(0, 1)")
        titles = ("Entries", "Norms of the vectors", "Covariance spectrum", "Each dimension")
        labels = ("value", "norm", "eigenvalue, ascending", "dimension")
        for one, title, label in zip(axes, titles, labels, strict=True):
            one.set(title=title, xlabel=label)
            one.legend(fontsize=8)
        save_figure(figure, path)


def write(
    folder: str | Path, name: str, eps: torch.Tensor, z: torch.Tensor, patch: int = 1, q=None
) -> dict:
    """Compare, and write `name`.json and `name`.png into a folder; returns the comparison."""
    from ttsnap.files import write_json

    found = compare(eps, z, patch, q)
    write_json(Path(folder) / f"{name}.json", found)
    draw(eps, z, found, Path(folder) / f"{name}.png", patch)
    return found
