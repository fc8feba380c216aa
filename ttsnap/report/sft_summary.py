"""The comparison over seeds: the original model, and SFT on random and on assigned noise after each cycle."""

import math
from dataclasses import dataclass
from typing import get_args

import numpy as np
from scipy import stats

from ttsnap.errors import BadInput
from ttsnap.settings.sft import Way
from ttsnap.storage.provenance import check_same

BASE, RANDOM, ASSIGNED = get_args(Way)
NAMES = {BASE: "original model", RANDOM: "SFT on random noise", ASSIGNED: "SFT on assigned noise"}


@dataclass(frozen=True)
class Metric:
    """One column: its place in a comparison, its title, and whether more is better."""

    path: tuple[str, ...]
    title: str
    better: int  # +1: higher, −1: lower, 0: neither
    places: int = 2
    scale: float = 1.0
    least: float = -math.inf  # what is possible, in the column's units
    most: float = math.inf

    def value(self, comparison: dict) -> float | None:
        """What a comparison says of this metric, in the column's units."""
        for key in self.path:
            comparison = comparison.get(key, {})
        return None if comparison == {} else comparison * self.scale

    def over_seeds(self, values: list[float]) -> dict:
        """`over_seeds` of values of this metric."""
        return over_seeds(values, self.least, self.most)

    def difference_over_seeds(self, differences: list[float]) -> dict:
        """`over_seeds` of differences of two values of this metric."""
        reach = self.most - self.least
        return over_seeds(differences, -reach, reach)


METRICS = [
    Metric(("train", "psnr"), "train targets, PSNR (dB)", +1),
    Metric(("test", "psnr"), "held-out targets, PSNR (dB)", +1),
    Metric(("fresh", "feature_distance"), "fresh samples, feature distance", -1, least=0),
    Metric(("fresh", "class_accuracy"), "fresh samples, right class (%)", +1, 1, 100, 0, 100),
    Metric(("fresh", "accepted"), "fresh samples, accepted by the checker (%)", +1, 1, 100, 0, 100),
    Metric(("drift",), "drift from the original (MSE)", 0, 4, least=0),
]


def over_seeds(values: list[float], least: float = -math.inf, most: float = math.inf) -> dict:
    """Mean and 95 % interval: Student's t over the seeds, cut to what is possible; none from a single seed."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return {"value": mean, "low": None, "high": None}
    half = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
    return {"value": mean, "low": max(mean - half, least), "high": min(mean + half, most)}


def summarise_sft(comparisons: list[dict]) -> dict:
    """A row for each model, and assigned − random noise after each cycle, paired by seed.

    comparisons: what `compare-sft --json` wrote. Raises BadInput when a model was not measured with every seed.
    """
    by_model: dict[tuple[str, int], dict[int, dict]] = {}
    for found in comparisons:
        by_model.setdefault((found["way"], found["cycle"]), {})[found["seed"]] = found
    seeds = sorted({found["seed"] for found in comparisons})
    first = {found["seed"]: found for found in reversed(comparisons)}
    for found in comparisons:
        where = f"comparison of {found['way']} after cycle {found['cycle']}, seed {found['seed']}"
        again = "compare with one original model and one judge"
        expected = first[found["seed"]]
        check_same(where, found, "the first of its seed", expected, again, only=("base", "judge"))
    for (way, cycle), found in by_model.items():
        if sorted(found) != seeds:
            raise BadInput(f"comparison of {way} after cycle {cycle}: has seeds {sorted(found)}, not {seeds}")
    metrics = [m for m in METRICS if all(m.value(found) is not None for found in comparisons)]
    rows = []
    for way, cycle in sorted(by_model, key=lambda model: (list(NAMES).index(model[0]), model[1])):
        found = by_model[way, cycle]
        values = {m.title: m.over_seeds([m.value(found[s]) for s in seeds]) for m in metrics}
        rows.append({"way": way, "cycle": cycle, "values": values})
    differences = []
    for cycle in sorted({cycle for way, cycle in by_model if way == ASSIGNED}):
        if (RANDOM, cycle) in by_model:
            assigned, random = by_model[ASSIGNED, cycle], by_model[RANDOM, cycle]
            values = {
                m.title: m.difference_over_seeds([m.value(assigned[s]) - m.value(random[s]) for s in seeds])
                for m in metrics
            }
            differences.append({"cycle": cycle, "values": values})
    return {
        "seeds": seeds,
        "metrics": [{"title": m.title, "better": m.better, "places": m.places} for m in metrics],
        "rows": rows,
        "differences": differences,
        "samples": {split: comparisons[0][split]["samples"] for split in ("train", "test")}
        | {"fresh": comparisons[0]["fresh"]["samples"]},
        "sentences": verdicts(metrics, differences),
    }


def verdicts(metrics: list[Metric], differences: list[dict]) -> list[str]:
    """What the last cycle says of assigned against random noise, metric by metric, in words."""
    if not differences:
        return []
    out = []
    for metric in metrics:
        if not metric.better:
            continue
        found = differences[-1]["values"][metric.title]
        if found["low"] is None:
            verdict = "one seed only: nothing can be said"
        elif found["low"] * found["high"] <= 0:
            verdict = "no clear difference"
        else:
            better = found["value"] * metric.better > 0
            verdict = f"assigned noise is {'better' if better else 'worse'}"
        out.append(f"{metric.title}: {verdict}")
    return out


def join_histories(summaries: list[dict]) -> tuple[dict[str, dict], list[int]]:
    """Losses of every update on random and on assigned noise, cycles joined, means over seeds; and where cycles begin.

    summaries: what `sft` wrote (train_summary.json), each with "way", "cycle" and "run_seed" added.
    """
    histories: dict[str, dict] = {}
    breaks: list[int] = []
    for way in (RANDOM, ASSIGNED):
        runs: dict[int, dict[int, dict]] = {}
        for summary in summaries:
            if summary["way"] == way:
                runs.setdefault(summary["run_seed"], {})[summary["cycle"]] = summary["history"]
        if not runs:
            continue
        joined = {}
        for part in ("total", "fit", "preserve"):
            series = [np.concatenate([run[c][part] for c in sorted(run)]) for run in runs.values()]
            joined[part] = np.mean(series, axis=0).tolist()
        first = next(iter(runs.values()))
        breaks = np.cumsum([len(first[c]["total"]) for c in sorted(first)])[:-1].tolist()
        histories[way] = joined
    return histories, breaks
