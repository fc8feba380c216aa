"""ε and z = Qε side by side, as a figure and as JSON; see `ttsnap.noise.diagnostics`."""

from pathlib import Path

import torch

from ttsnap.noise.diagnostics import as_rows, compare
from ttsnap.report.figures import STYLE, plt, save_figure
from ttsnap.storage.files import write_json


def draw(eps: torch.Tensor, z: torch.Tensor, found: dict, path: str | Path, patch: int = 1) -> None:
    """Draw the comparison as PNG: histogram against N(0, 1), norms, covariance spectra, moments by dimension."""
    rows = {"ε": as_rows(eps.detach().cpu(), patch), "z": as_rows(z.detach().cpu(), patch)}
    lines = {"ε": dict(color="#404040", ls="-"), "z": dict(color="#D55E00", ls="--")}
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 4, figsize=(15, 3.6), layout="constrained")
        grid = torch.linspace(-4, 4, 81)
        for (name, values), kind in zip(rows.items(), ("before", "after"), strict=True):
            options = dict(histtype="step", density=True, label=name, **lines[name])
            axes[0].hist(values.flatten().numpy(), bins=grid.numpy(), **options)
            norms = values.norm(dim=1).numpy()
            bins = 30 if norms.max() - norms.min() > 1e-4 * norms.max() else 1
            axes[1].hist(norms, bins=bins, **options)
            axes[2].plot(found[kind]["spectrum"], label=name, **lines[name])
            axes[3].plot(values.mean(0).numpy(), lw=1, label=f"mean of {name}", **lines[name])
            variances = values.var(0, correction=0).numpy()
            axes[3].plot(variances, lw=2, label=f"variance of {name}", **lines[name])
        density = torch.exp(-(grid**2) / 2) / (2 * torch.pi) ** 0.5
        axes[0].plot(grid, density, color="#0072B2", lw=1, label="N(0, 1)")
        titles = ("Entries", "Norms of the vectors", "Covariance spectrum", "Each dimension")
        labels = ("value", "norm", "eigenvalue, ascending", "dimension")
        for panel, title, label in zip(axes, titles, labels, strict=True):
            panel.set(title=title, xlabel=label)
            panel.legend(fontsize=8)
        save_figure(figure, path)


def write(folder: str | Path, name: str, eps: torch.Tensor, z: torch.Tensor, patch: int = 1, q=None) -> dict:
    """Compare, write `name`.json and `name`.png into a folder, and return the comparison."""
    found = compare(eps, z, patch, q)
    write_json(Path(folder) / f"{name}.json", found)
    draw(eps, z, found, Path(folder) / f"{name}.png", patch)
    return found
