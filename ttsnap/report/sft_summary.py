"""The comparison over seeds: the original model, and SFT on each kind of noise after each cycle."""

import math
from dataclasses import dataclass
from typing import get_args

import numpy as np
from scipy import stats

from ttsnap.errors import BadInput
from ttsnap.settings.sft import Way
from ttsnap.storage.provenance import check_same

BASE, RANDOM, ASSIGNED, PAIRED = get_args(Way)
MODEL_NAMES = {
    BASE: "original model",
    RANDOM: "SFT on random noise",
    ASSIGNED: "SFT on assigned noise",
    PAIRED: "SFT on the noise the targets were made from",
}


@dataclass(frozen=True)
class Metric:
    """A column of the table: its key path in a comparison, its title, and whether more is better."""

    path: tuple[str, ...]
    title: str
    better: int  # +1: higher, −1: lower, 0: neither
    places: int = 2
    scale: float = 1.0
    least: float = -math.inf  # the possible range, in the column's units
    most: float = math.inf

    def value(self, comparison: dict) -> float | None:
        """The value of this metric in a comparison, in the column's units."""
        for key in self.path:
            comparison = comparison.get(key, {})
        return None if comparison == {} else comparison * self.scale


METRICS = [
    Metric(("train", "psnr"), "train targets, PSNR (dB)", +1),
    Metric(("test", "psnr"), "held-out targets, PSNR (dB)", +1),
    Metric(("fresh", "feature_distance"), "fresh samples, feature distance", -1, least=0),
    Metric(("fresh", "class_accuracy"), "fresh samples, right class (%)", +1, 1, 100, 0, 100),
    Metric(("fresh", "accepted"), "fresh samples, accepted by the checker (%)", +1, 1, 100, 0, 100),
    Metric(("draft", "accepted"), "as a draft, accepted by the checker (%)", +1, 1, 100, 0, 100),
    Metric(("draft", "tau"), "as a draft, Kendall τ with the target's reward", +1, 3, 1, -1, 1),
    Metric(("drift",), "drift from the original (MSE)", 0, 4, least=0),
]


def over_seeds(values: list[float], least: float = -math.inf, most: float = math.inf) -> dict:
    """Mean and 95 % interval: Student's t over the seeds, cut to the possible range; a single seed has no interval."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return {"value": mean, "low": None, "high": None}
    half = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
    return {"value": mean, "low": max(mean - half, least), "high": min(mean + half, most)}


def summarise_sft(comparisons: list[dict]) -> dict:
    """A row for each model, and the difference assigned − random noise after each cycle, paired by seed.

    comparisons: the JSON of `compare-sft`. Raises BadInput if a model was not measured with every seed.
    """
    by_model: dict[tuple[str, int], dict[int, dict]] = {}
    for found in comparisons:
        by_model.setdefault((found["way"], found["cycle"]), {})[found["seed"]] = found
    seeds = sorted({found["seed"] for found in comparisons})
    first = {found["seed"]: found for found in reversed(comparisons)}
    for found in comparisons:
        where = f"comparison of {found['way']} after cycle {found['cycle']}, seed {found['seed']}"
        again = "compare with one original model and one judge"
        check_same(where, found, "the first of its seed", first[found["seed"]], again, only=("base", "judge"))
    for (way, cycle), found in by_model.items():
        if sorted(found) != seeds:
            raise BadInput(f"comparison of {way} after cycle {cycle}: has seeds {sorted(found)}, not {seeds}")
    metrics = [m for m in METRICS if all(m.value(found) is not None for found in comparisons)]
    by_seed = {
        model: {m: np.array([m.value(found[s]) for s in seeds]) for m in metrics} for model, found in by_model.items()
    }
    rows = []
    for way, cycle in sorted(by_seed, key=lambda model: (list(MODEL_NAMES).index(model[0]), model[1])):
        values = {m.title: over_seeds(by_seed[way, cycle][m], m.least, m.most) for m in metrics}
        rows.append({"way": way, "cycle": cycle, "values": values})
    differences = []
    for cycle in sorted(cycle for way, cycle in by_seed if way == ASSIGNED and (RANDOM, cycle) in by_seed):
        assigned, random = by_seed[ASSIGNED, cycle], by_seed[RANDOM, cycle]
        values = {m.title: over_seeds(assigned[m] - random[m], m.least - m.most, m.most - m.least) for m in metrics}
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
    """One sentence per metric: assigned against random noise after the last cycle."""
    if not differences:
        return []
    sentences = []
    for metric in (metric for metric in metrics if metric.better):
        found = differences[-1]["values"][metric.title]
        if found["low"] is None:
            verdict = "one seed only: no verdict"
        elif found["low"] * found["high"] <= 0:
            verdict = "no clear difference"
        else:
            better = found["value"] * metric.better > 0
            verdict = f"assigned noise is {'better' if better else 'worse'}"
        sentences.append(f"{metric.title}: {verdict}")
    return sentences


def join_histories(summaries: list[dict]) -> tuple[dict[str, dict], list[int]]:
    """The losses of every update on each kind of noise, cycles joined and averaged over seeds; and where cycles begin.

    summaries: train_summary.json of `sft`, with "way", "cycle" and "run_seed" added.
    """
    histories: dict[str, dict] = {}
    breaks: list[int] = []
    for way in (RANDOM, ASSIGNED, PAIRED):
        runs: dict[int, list[dict]] = {}
        for summary in sorted((s for s in summaries if s["way"] == way), key=lambda s: s["cycle"]):
            runs.setdefault(summary["run_seed"], []).append(summary["history"])
        if runs:
            histories[way] = {
                part: np.mean(
                    [np.concatenate([cycle[part] for cycle in run]) for run in runs.values()], axis=0
                ).tolist()
                for part in ("total", "fit", "preserve")
            }
            breaks = np.cumsum([len(cycle["total"]) for cycle in next(iter(runs.values()))])[:-1].tolist()
    return histories, breaks
