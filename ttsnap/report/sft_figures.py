"""Figures of the second method: loss curves and image grids, with reproducible bytes."""

import textwrap
from pathlib import Path

import numpy as np

from ttsnap.report.figures import STYLE, plt, save_figure
from ttsnap.report.sft_summary import ASSIGNED, MODEL_NAMES, PAIRED, RANDOM
from ttsnap.settings.sft import Way

LINES = {  # Okabe and Ito's colours, told apart by dashes as well
    RANDOM: ("#0072B2", "--"),
    ASSIGNED: ("#D55E00", "-"),
    PAIRED: ("#009E73", ":"),
}
TERMS = {"total": "Training loss", "fit": "Fit to the targets", "preserve": "Distance to the original model"}


def loss_curves(histories: dict[Way, dict], path: str | Path, breaks: list[int] = ()) -> None:
    """Draw the smoothed losses of all updates as PNG, one curve per kind of noise.

    histories: noise → {"total", "fit", "preserve"}; breaks: the updates at which a new cycle begins.
    """
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 3, figsize=(13, 3.8), layout="constrained")
        for panel, (part, title) in zip(axes, TERMS.items(), strict=True):
            for noise, history in histories.items():
                values = np.array(history[part])
                if not len(values) or not values.any():
                    continue
                colour, line = LINES[noise]
                window = max(1, len(values) // 50)
                smooth = np.convolve(values, np.ones(window) / window, "valid")
                at = np.arange(len(smooth)) + window
                smooth[smooth <= 0] = np.nan  # a log axis cannot show it
                panel.plot(at, smooth, line, color=colour, label=MODEL_NAMES[noise], lw=1.8)
            for update in breaks:
                panel.axvline(update, color="#808080", ls=(0, (2, 3)), lw=1, zorder=0)
            panel.set(title=title, yscale="log", xlabel="updates", ylabel="weighted MSE and L1 (log)")
        handles, labels = axes[0].get_legend_handles_labels()
        if len(labels) > 1:
            figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
        save_figure(figure, path)


def image_grid(rows: dict[str, np.ndarray], titles: list[str], path: str | Path) -> None:
    """Draw rows of images (name → uint8 [n, H, W, C]) under column titles, as PNG."""
    count = max(map(len, rows.values()))
    with plt.rc_context(STYLE):
        size = (count + 2.2, 1.05 * len(rows) + 0.4)
        figure, axes = plt.subplots(len(rows), count, figsize=size, layout="constrained", squeeze=False)
        for line, (name, images) in zip(axes, rows.items(), strict=True):
            for column, cell in enumerate(line):
                cell.set(xticks=[], yticks=[])
                cell.grid(False)
                cell.spines[:].set_visible(False)
                if column < len(images):
                    image = images[column]
                    cell.imshow(image[..., 0] if image.shape[-1] == 1 else image, cmap="gray", vmin=0, vmax=255)
            line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
        for cell, title in zip(axes[0], titles, strict=False):
            lines = textwrap.shorten(title, 60, placeholder="…")
            cell.set_title(textwrap.fill(lines, 18), fontsize=7, fontweight="normal", loc="center")
        save_figure(figure, path)
