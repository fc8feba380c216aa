"""Figures of the report. Their bytes are reproducible: no dates or versions in the files."""

import io
from pathlib import Path

import matplotlib

from ttsnap.report.words import flop_unit, method_name, percent
from ttsnap.storage.files import replacing

matplotlib.use("Agg")

import matplotlib.pyplot as plt

# Okabe and Ito's colours, safe for colour-blind readers; markers and dashes differ too
METHOD_STYLES = {  # method: colour, marker, line style, width
    "best_of_n": ("#404040", "o", "-", 1.8),
    "ttsp": ("#0072B2", "s", "-", 1.8),
    "ttsnap": ("#D55E00", "D", "-", 2.2),
    "ttsnap_steps": ("#D55E00", "", "-.", 1.3),
    "oracle": ("#009E73", "", "--", 1.1),
    "random": ("#CC79A7", "", ":", 1.3),
}
LEGEND = {
    "ttsp": "TTSp: drops by the base reward",
    "ttsnap": "TTSnap: drops by the noise-aware reward",
    "ttsnap_steps": "TTSnap without drafts",
    "oracle": "oracle: drops by the final reward (ceiling)",
    "random": "random pruning (floor)",
}
STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.7,
    "axes.edgecolor": "#707070",
    "axes.axisbelow": True,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "legend.frameon": False,
}


def reward_against_budget(result: dict, path: str | Path, methods: list[str] | None = None) -> None:
    """Draw the mean reward of each method against the budget, with its interval, as PNG.

    result: JSON of `ttsnap simulate`; methods: by default all of them. Each reward has a panel, and so has the
    checker's acceptance, if any.
    """
    curves = {name: result["methods"][name] for name in methods or result["methods"]}
    panels = _panels(result, curves)
    unit, factor = flop_unit(max(curves["best_of_n"]["budget"]))
    with plt.rc_context(STYLE):
        width = 8.4 if len(panels) == 1 else 5.2 * len(panels)
        figure, all_axes = plt.subplots(1, len(panels), figsize=(width, 5.0), layout="constrained", squeeze=False)
        for axes, (title, label, values) in zip(all_axes[0], panels, strict=True):
            for name, columns in values.items():
                budget = [value * factor for value in curves[name]["budget"]]
                _curve(axes, name, budget, columns, result["gain"].get(name))
            axes.set(title=title, xlabel=f"budget per prompt ({unit})", ylabel=label)
            _count_candidates(axes, curves["best_of_n"], factor)
            _limit(axes, list(values.values()))
        handles, labels = all_axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3 if len(panels) > 2 else 2)
        save_figure(figure, path)


def _panels(result: dict, curves: dict) -> list[tuple[str, str, dict]]:
    """[(title, label of the y axis, {method: [values, low ends, high ends]})]."""

    def columns(parts: dict, *keys: str, scale: float = 1) -> dict:
        return {
            name: [[None if v is None else scale * v for v in part[key]] for key in keys]
            for name, part in parts.items()
        }

    first, panels = next(iter(curves.values())), []
    for reward in first.get("by_reward", []):
        parts = {name: curve["by_reward"][reward] for name, curve in curves.items()}
        panels.append((f"Reward: {reward}", f"{reward} of the chosen image", columns(parts, "value", "low", "high")))
    if not panels:
        label = f"{result['unit']} of the chosen image (mean)"
        panels.append((f"Reward: {result['reward']}", label, columns(curves, "reward", "low", "high")))
    if "accepted" in first:
        values = columns(curves, "accepted", "accepted_low", "accepted_high", scale=100)
        panels.append(("Checker", "chosen images that show their prompt (%)", values))
    return panels


def _curve(axes, name: str, budget: list[float], columns: list[list], gain: dict | None) -> None:
    """Draw one method, if it has values: the three that compete with a band, ceiling and floor as thin lines."""
    if all(v is None for v in columns[0]):
        return
    value, low, high = ([float("nan") if v is None else v for v in column] for column in columns)
    colour, marker, line, width = METHOD_STYLES.get(name, (None, "x", "-", 1.5))
    label = LEGEND.get(name, method_name(name))
    if marker and gain and gain["value"] is not None and "by_reward" not in gain:
        label += f", Ω {percent(gain['value'], 0, True)}"
    (drawn,) = axes.plot(budget, value, line, color=colour, marker=marker, markersize=4.5, lw=width, label=label)
    if marker:
        axes.fill_between(budget, low, high, color=drawn.get_color(), alpha=0.11, lw=0)


def _count_candidates(axes, bon: dict, factor: float) -> None:
    """Add an axis for the number of candidates that best-of-N finishes within each budget."""
    first = dict(zip(reversed(bon["candidates"]), reversed(bon["budget"]), strict=True))
    counts = sorted(first)[:: 1 + len(first) // 13]
    above = axes.secondary_xaxis("top")
    above.set_xticks([first[count] * factor for count in counts], [str(n) for n in counts])
    above.set_xlabel("candidates that best-of-N finishes", labelpad=4, color="#606060")
    above.tick_params(colors="#606060", length=3)
    above.spines["top"].set_visible(False)


def _limit(axes, methods: list[list[list]]) -> None:
    """Show whole curves, and bands up to 0.6 of the curves' span beyond them."""
    value, low, high = ([v for columns in methods for v in columns[at] if v is not None] for at in range(3))
    if not value:
        return
    span = (max(value) - min(value)) or 1.0
    margin = 0.04 * span
    axes.set_ylim(
        max(min(value + low), min(value) - 0.6 * span) - margin,
        min(max(value + high), max(value) + 0.6 * span) + margin,
    )


def tau_per_step(alignment: dict, path: str | Path, looks: list[int] = ()) -> None:
    """Draw Kendall's τ of each step with the final reward, and the effect of finetuning, as PNG.

    alignment: JSON of `ttsnap align`; looks: the steps at which TTSnap looks.
    """
    rows = alignment["steps"]
    paired = [row for row in rows if row["tau_difference"]]
    with plt.rc_context(STYLE):
        figure, all_axes = plt.subplots(
            1 + bool(paired), 1, figsize=(7.6, 6.2 if paired else 4.4), layout="constrained",
            sharex=True, squeeze=False, height_ratios=[2.2, 1][: 1 + bool(paired)],
        )  # fmt: skip
        axes = all_axes[0, 0]
        for kind, label, method in (
            ("base", "base reward, as published", "ttsp"),
            ("noise_aware", "noise-aware reward of that step", "ttsnap"),
        ):
            read = [row for row in rows if row[kind] and row[kind]["tau"]["value"] is not None]
            if read:
                _points(axes, [row["step"] for row in read], [row[kind]["tau"] for row in read], label, method)
        axes.set(
            title=f"How well a look at step s predicts the final {alignment['reward']}",
            ylabel="Kendall τ with the final reward\n(1: same ranking, 0: none)",
        )
        axes.axhline(0, color="#707070", lw=0.8)
        if paired:
            below = all_axes[1, 0]
            _points(below, [r["step"] for r in paired], [r["tau_difference"] for r in paired], None, "ttsnap", "")
            below.axhline(0, color="#707070", lw=0.8)
            below.set_ylabel("gained: noise-\naware − base")
        for index, panel in enumerate(all_axes[:, 0]):
            for n, step in enumerate(looks):
                label = "TTSnap's looks" if not index and not n else None
                panel.axvline(step, color="#808080", ls=(0, (2, 3)), lw=1, zorder=0, label=label)
        axes.legend(loc="lower right", frameon=True, framealpha=1, edgecolor="none")
        all_axes[-1, 0].set_xlabel("step s of the denoising loop (0: noisiest look)")
        steps = [row["step"] for row in rows]
        all_axes[-1, 0].set_xticks(steps[:: max(1, len(steps) // 20)])
        save_figure(figure, path)


def _points(axes, at: list[float], means: list[dict], label, method: str, line="-", star: bool = False) -> None:
    """Draw means with their intervals as bars, as the method's markers or as stars."""
    colour, marker, _, width = METHOD_STYLES[method]
    values = [mean["value"] for mean in means]
    marker, size = ("*", 10) if star else (marker, 4.5)
    bars = [
        [0 if mean["low"] is None else mean["value"] - mean["low"] for mean in means],
        [0 if mean["high"] is None else mean["high"] - mean["value"] for mean in means],
    ]
    axes.errorbar(
        at, values, yerr=bars, fmt=marker, ls=line, color=colour, markersize=size, lw=width,
        elinewidth=1.2, capsize=2.5, label=label,
    )  # fmt: skip


def looks_by_cost(table: dict):
    """A figure of what each look costs and how well it predicts the final reward; `table`: of `looks_table`."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(8.4, 5.0), layout="constrained")
        for kind, method, reader in (("base", "ttsp", "base reward"), ("noise_aware", "ttsnap", "noise-aware reward")):
            for key, what, line in (("step", "Tweedie image", "-"), ("draft", "draft", "")):
                rows = [
                    row for row in table["rows"] if key in row and row[kind] and row[kind]["tau"]["value"] is not None
                ]
                if rows:
                    taus, label = [row[kind]["tau"] for row in rows], f"{what}, {reader}"
                    _points(axes, [100 * row["share"] for row in rows], taus, label, method, line, star=key == "draft")
        for row in table["rows"]:
            best = max((row[k]["tau"]["value"] or 0 for k in ("base", "noise_aware") if row[k]), default=0)
            if row["chosen"]:
                axes.plot(100 * row["share"], best, "o", ms=15, mfc="none", mec="#202020", mew=1.3)
            if row["chosen"] or "draft" in row:
                at = (100 * row["share"], best)
                axes.annotate(str(row["look"]), at, (9, 7), textcoords="offset points", fontsize=9)
        axes.axhline(0, color="#707070", lw=0.8)
        axes.set(
            title=f"What a look costs, and how well it predicts the final {table['reward']}",
            xlabel="compute up to and with the look (% of a full run)",
            ylabel="Kendall τ with the final reward\n(1: same ranking, 0: none)",
        )
        axes.set_xlim(left=0)
        axes.plot([], [], "o", ms=10, mfc="none", mec="#202020", mew=1.3, label="look of TTSnap's schedule")
        axes.legend(loc="lower right", frameon=True, framealpha=1, edgecolor="none")
    return figure


def png(figure) -> bytes:
    """A figure as PNG; closes it."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110, metadata={"Software": None})
    plt.close(figure)
    return file.getvalue()


def save_figure(figure, path: str | Path) -> None:
    """Write a figure as PNG and close it."""
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=130, metadata={"Software": None})
    plt.close(figure)
