"""The comparison over seeds: base, direct SFT and latent-matched SFT after each cycle."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from ttsnap.errors import BadInput
from ttsnap.storage.provenance import check_same

BASE, DIRECT, MATCHED = "base", "direct", "matched"
NAMES = {BASE: "original model", DIRECT: "direct SFT, random noise", MATCHED: "latent-matched SFT"}


@dataclass(frozen=True)
class Metric:
    """One column: where it stands in a comparison, what it is called, and whether more is better."""

    path: tuple[str, ...]
    title: str
    better: int  # +1: higher, −1: lower, 0: neither
    places: int = 2
    scale: float = 1.0
    least: float = -math.inf  # what is possible, in the column's units
    most: float = math.inf

    def of(self, comparison: dict) -> float | None:
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
    """A row for each model, and matched − direct after each cycle, paired by seed, from `compare-sft --json` files.

    Raises BadInput when a model was not measured with every seed.
    """
    by_model: dict[tuple[str, int], dict[int, dict]] = {}
    for one in comparisons:
        by_model.setdefault((one["way"], one["cycle"]), {})[one["seed"]] = one
    seeds = sorted({one["seed"] for one in comparisons})
    first = {one["seed"]: one for one in reversed(comparisons)}
    for one in comparisons:
        where = f"comparison of {one['way']} after cycle {one['cycle']}, seed {one['seed']}"
        again = "compare with one original model and one judge"
        expected = first[one["seed"]]
        check_same(where, one, "the first of its seed", expected, again, only=("base", "judge"))
    for (way, cycle), found in by_model.items():
        if sorted(found) != seeds:
            raise BadInput(
                f"comparison of {way} after cycle {cycle}: has seeds {sorted(found)}, not {seeds}"
            )
    metrics = [m for m in METRICS if all(m.of(one) is not None for one in comparisons)]
    order = {BASE: 0, DIRECT: 1, MATCHED: 2}
    rows = []
    for way, cycle in sorted(by_model, key=lambda model: (order[model[0]], model[1])):
        found = by_model[way, cycle]
        values = {m.title: m.over_seeds([m.of(found[s]) for s in seeds]) for m in metrics}
        rows.append({"way": way, "cycle": cycle, "values": values})
    differences = []
    for cycle in sorted({cycle for way, cycle in by_model if way == MATCHED}):
        if (DIRECT, cycle) in by_model:
            ours, theirs = by_model[MATCHED, cycle], by_model[DIRECT, cycle]
            values = {
                m.title: m.difference_over_seeds([m.of(ours[s]) - m.of(theirs[s]) for s in seeds])
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
    """What the last cycle says of matched against direct, metric by metric, in words."""
    if not differences:
        return []
    out = []
    for metric in metrics:
        if not metric.better:
            continue
        of = differences[-1]["values"][metric.title]
        if of["low"] is None:
            word = "one seed only: nothing can be said"
        elif of["low"] * of["high"] <= 0:
            word = "no clear difference"
        else:
            word = (
                "matched noise is better"
                if of["value"] * metric.better > 0
                else "matched noise is worse"
            )
        out.append(f"{metric.title}: {word}")
    return out


def join_histories(summaries: list[dict]) -> tuple[dict[str, dict], list[int]]:
    """Losses of every update of direct and matched SFT, cycles joined, averaged over seeds; and where cycles begin.

    summaries: what `sft` wrote (train_summary.json), each with "way", "cycle" and "run_seed" added.
    """
    histories: dict[str, dict] = {}
    breaks: list[int] = []
    for way in (DIRECT, MATCHED):
        runs: dict[int, dict[int, dict]] = {}
        for one in summaries:
            if one["way"] == way:
                runs.setdefault(one["run_seed"], {})[one["cycle"]] = one["history"]
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
