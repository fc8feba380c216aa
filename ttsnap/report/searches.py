"""The page of the real searches: measured beside predicted values, as table and figure."""

from ttsnap.pruning.schedule import REAL_METHODS, Schedule
from ttsnap.report.figures import METHOD_STYLES, STYLE, plt, png
from ttsnap.report.pages import png_uri
from ttsnap.report.words import flop, method_name


def search_page(comparison: dict) -> dict:
    """The values of the template `search`, from the JSON of `compare-search`."""
    rows = comparison["rows"]
    budgets = sorted({row["budget"] for row in rows})
    reward = comparison["rewards"][0]
    return {
        **comparison,
        "reward": reward,
        "checked": any("accepted" in row["measured"] for row in rows),
        "budgets": [(b, [row for row in rows if row["budget"] == b]) for b in budgets],
        "schedules": {row["method"]: row["schedule"] for row in rows},
        "verdicts": [verdict(comparison, budget, reward) for budget in budgets],
        "figure": png_uri(search_figure(comparison)),
    }


def verdict(comparison: dict, budget: float, reward: str) -> str:
    """One sentence on whether TTSnap won at a budget, if the interval supports one."""
    for row in comparison["rows"]:
        if row["budget"] == budget and row["method"] == "ttsnap" and row["over_best_of_n"]:
            if not Schedule.from_json(row["schedule"]).looks:
                return "TTSnap's fitted schedule drops no candidate, so here it is best-of-N."
            over = row["over_best_of_n"]["measured"][reward]
            if over["low"] is None or over["low"] <= 0 <= over["high"]:
                return "TTSnap is not clearly better or worse than best-of-N: the interval includes 0."
            return f"TTSnap is {'better' if over['low'] > 0 else 'worse'} than best-of-N."
    return ""


def search_figure(comparison: dict) -> bytes:
    """PNG: measured (filled) and predicted (hollow) at each budget, and the seconds."""
    reward, rows = comparison["rewards"][0], comparison["rows"]
    panels = [(reward, f"{comparison['unit']} of the pick", 1.0)]
    if "accepted" in rows[0]["measured"]:
        panels.append(("accepted", "picks that show their prompt (%)", 100.0))
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, len(panels) + 1, figsize=(4.3 * (len(panels) + 1), 4.4), layout="constrained")
        for panel, (name, label, scale) in zip(axes, panels, strict=False):
            for method in REAL_METHODS:
                _points(panel, rows, method, name, scale)
            panel.set(ylabel=label, title="Reward" if name == reward else "Checker")
        _seconds(axes[-1], rows)
        budgets = sorted({row["budget"] for row in rows})
        tflop = {row["budget"]: row["budget_tflop"] for row in rows}
        for panel in axes:
            panel.set_xticks(range(len(budgets)), [f"{b:g}\n{flop(tflop[b])}" for b in budgets])
            panel.set_xlabel(f"budget per prompt ({comparison['budget_unit']})")
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return png(figure)


def _place(rows: list[dict], row: dict) -> float:
    """The x position of a row: the methods stand side by side at each budget."""
    budgets = sorted({other["budget"] for other in rows})
    return budgets.index(row["budget"]) + 0.24 * (REAL_METHODS.index(row["method"]) - 1)


def _points(axes, rows: list[dict], method: str, name: str, scale: float) -> None:
    colour, marker, _, _ = METHOD_STYLES[method]
    kinds = (("measured", -0.04, {"label": f"{method_name(method)}, measured"}),
             ("predicted", 0.04, {"markerfacecolor": "white", "label": "… predicted"}))  # fmt: skip
    for kind, shift, style in kinds:
        shown = [row for row in rows if row["method"] == method and row[kind].get(name)]
        if not shown:
            continue
        means = [row[kind][name] for row in shown]
        bars = [[0 if m[end] is None else scale * abs(m[end] - m["value"]) for m in means] for end in ("low", "high")]
        axes.errorbar(
            [_place(rows, row) + shift for row in shown], [scale * m["value"] for m in means],
            yerr=bars, fmt=marker, color=colour, markersize=5.5, capsize=2.5, elinewidth=1.1, **style,
        )  # fmt: skip


def _seconds(axes, rows: list[dict]) -> None:
    places = [_place(rows, row) for row in rows]
    for place, row in zip(places, rows, strict=True):
        axes.bar(place, row["seconds"]["total"], 0.2, color=METHOD_STYLES[row["method"]][0])
    axes.plot(
        places, [row["seconds"]["cpu"] for row in rows], "D", color="white", mec="#1d2530", ms=6, label="CPU seconds"
    )
    axes.legend(loc="upper left")
    axes.set(ylabel="seconds per prompt, as measured", title="Wall-clock")
