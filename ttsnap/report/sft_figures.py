"""Figures of the second method: loss curves and image grids. Deterministic bytes."""

import textwrap
from pathlib import Path

import numpy as np

from ttsnap.report.figures import STYLE, plt, save_figure

LOOKS = {  # Okabe and Ito's colours; dashes say it again
    "base": ("#404040", ":"),
    "random": ("#0072B2", "--"),
    "direct": ("#0072B2", "--"),
    "assigned": ("#D55E00", "-"),
    "matched": ("#D55E00", "-"),
}
PARTS = {
    "total": "Training loss",
    "fit": "Fit to the targets",
    "preserve": "Distance to the original model",
}


def loss_curves(histories: dict[str, dict], path: str | Path, breaks: list[int] = ()) -> None:
    """Draw the losses of every update, smoothed, one curve a way of training, as PNG.

    histories: name → {"total", "fit", "preserve"}; breaks: updates at which a new cycle begins.
    """
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 3, figsize=(13, 3.8), layout="constrained")
        for one, (part, title) in zip(axes, PARTS.items(), strict=True):
            for name, history in histories.items():
                values = np.array(history[part])
                if not len(values) or not values.any():
                    continue
                colour, line = LOOKS.get(name, (None, "-"))
                window = max(1, len(values) // 50)
                smooth = np.convolve(values, np.ones(window) / window, "valid")
                at = np.arange(len(smooth)) + window
                smooth[smooth <= 0] = np.nan  # no place on a log axis
                one.plot(at, smooth, line, color=colour, label=name, lw=1.8)
            for update in breaks:
                one.axvline(update, color="#808080", ls=(0, (2, 3)), lw=1, zorder=0)
            one.set(title=title, xlabel="updates", ylabel="weighted MSE and L1 (log)", yscale="log")
        handles, labels = axes[0].get_legend_handles_labels()
        if len(labels) > 1:
            figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
        save_figure(figure, path)


def image_grid(rows: dict[str, np.ndarray], titles: list[str], path: str | Path) -> None:
    """Draw rows of images (name → uint8 [n, H, W, C]) under the columns' titles, as PNG."""
    count = max(map(len, rows.values()))
    with plt.rc_context(STYLE):
        size = (1.0 * count + 2.2, 1.05 * len(rows) + 0.4)
        figure, axes = plt.subplots(
            len(rows), count, figsize=size, layout="constrained", squeeze=False
        )
        for line, (name, images) in zip(axes, rows.items(), strict=True):
            for column, one in enumerate(line):
                one.set(xticks=[], yticks=[])
                one.grid(False)
                one.spines[:].set_visible(False)
                if column < len(images):
                    image = images[column]
                    grey = image.shape[-1] == 1
                    shown = image[..., 0] if grey else image
                    one.imshow(shown, cmap="gray" if grey else None, vmin=0, vmax=255)
            line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
        for one, title in zip(axes[0], titles, strict=False):
            lines = textwrap.shorten(title, 60, placeholder="…")
            one.set_title(textwrap.fill(lines, 18), fontsize=7, fontweight="normal", loc="center")
        save_figure(figure, path)
