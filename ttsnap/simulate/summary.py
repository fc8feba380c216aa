"""A simulation as `ttsnap simulate` writes it: each method's curves with intervals, gains and notes.

Intervals are 95 % percentile bootstraps of the mean. `low`/`high` resample the prompts together with their draws, and
so cover both. `low_draws`/`high_draws` resample the draws alone: what another seed would give on the same prompts. With
one prompt both resample the draws.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ttsnap.pruning.costs import Costs
from ttsnap.pruning.intervals import gain, interval, resampling
from ttsnap.pruning.schedule import Schedule, look_names
from ttsnap.pruning.units import Units
from ttsnap.simulate.methods import METHODS, Method, fallback_looks
from ttsnap.simulate.montecarlo import Curve, simulate
from ttsnap.storage.costs import costs_to_json
from ttsnap.storage.tensor import RewardTensor, sources

ENDS = ("value", "low", "high", "low_draws", "high_draws")
OVER = ("over_best_of_n", "over_best_of_n_low", "over_best_of_n_high")
ACCEPTED_OVER = tuple(f"accepted_{key}" for key in OVER)


def simulate_prompts(
    tensors: Sequence[RewardTensor],
    prompts: slice,
    budgets: np.ndarray,
    costs: Costs,
    schedule: Schedule,
    *,
    schedules: Mapping[str, Schedule] | None = None,
    methods: Mapping[str, Method] = METHODS,
    draws: int = 50,
    seed: int = 0,
) -> dict:
    """The content of `ttsnap simulate --json` for some prompts of the tensors; arguments as for `simulate`.

    Adds to `summarise` "made_from" (the tensors), "fallback_looks" (where TTSnap read the base reward), "schedules" (by
    method) and "settings".
    """
    selected = [tensor.select(prompts) for tensor in tensors]
    how = {"schedules": schedules, "methods": methods, "draws": draws, "seed": seed}
    curves = simulate(selected, budgets, costs, schedule, **how)
    result = summarise(curves, budgets, costs, selected, seed)
    lacking = {look for tensor in selected for look in fallback_looks(tensor, schedule.looks)}
    fallback = [look for look in schedule.looks if look in lacking]
    if fallback:
        result["notes"].append(f"ttsnap: base reward at {look_names(fallback)}: no noise-aware one there")
    return result | {
        "made_from": sources(tensors),
        "fallback_looks": fallback,
        "schedules": {name: curve.schedule.as_json() for name, curve in curves.items()},
        "settings": {
            **costs_to_json(costs),
            "draws": draws,
            "seed": seed,
            "prompts": [prompts.start, prompts.stop],
            "pool": tensors[0].base.shape[1],
        },
    }


def as_csv(methods: Mapping[str, Mapping[str, Sequence]]) -> str:
    """The curves of a result's `methods`: one line per method and budget, empty fields for missing values."""
    text = io.StringIO()
    columns = [key for key in next(iter(methods.values())) if key != "by_reward"]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["method", *columns])
    for name, curve in methods.items():
        for row in zip(*(curve[column] for column in columns), strict=True):
            writer.writerow([name, *row])
    return text.getvalue()


def summarise(
    curves: Mapping[str, Curve], budgets: np.ndarray, costs: Costs, tensors: Sequence[RewardTensor], seed: int = 0
) -> dict:
    """{"methods": …, "gain": …, "gain_difference": …, "notes": …} of the curves that `simulate` drew from `tensors`.

    Rewards are in reporting units, gains Ω are fractions, missing values are None. With several rewards `reward` and
    `gain` are those of the first, and `by_reward` has them all.
    """
    budgets = np.asarray(budgets, float)
    sample = _Resamples(curves, seed)
    units = {tensor.reward: tensor.units for tensor in tensors}
    rewards, bon = list(units), curves["best_of_n"]
    gains = {}
    for name, curve in curves.items():
        if name != "best_of_n":
            gains[name], _ = _gain(sample, curve, bon, rewards[0], budgets)
            if len(rewards) > 1:
                gains[name]["by_reward"] = {r: _gain(sample, curve, bon, r, budgets)[0] for r in rewards}
    notes = _notes(curves, budgets, costs, tensors[0].base.shape[1])
    if without := [name for name, gain in gains.items() if gain["value"] is None and not curves[name].unread]:
        notes.append(
            f"{', '.join(without)}: no gain can be stated: it needs two or more budgets that it and "
            "best-of-N can be simulated at, and a best-of-N reward that rises over them"
        )
    if sample.prompts == 1:
        notes.append("one prompt: intervals cover the draws only")
    return {
        "reward": rewards[0],
        "unit": units[rewards[0]].label,
        "methods": {name: _method(sample, curve, bon, units, budgets) for name, curve in curves.items()},
        "gain": gains,
        "gain_difference": _differences(sample, curves, rewards[0], budgets),
        "notes": notes,
    }


class _Resamples:
    """One set of bootstrap weights for all methods, so that differences are paired."""

    def __init__(self, curves: Mapping[str, Curve], seed: int):
        rng, curve = np.random.default_rng([seed, 2]), next(iter(curves.values()))
        self.prompts, draws = (next(iter(v.values())).shape[1] for v in (curve.by_prompt, curve.by_draw))
        self.prompt_weights, self.draw_weights = resampling(rng, self.prompts), resampling(rng, draws)

    def replicates(self, curve: Curve, name: str) -> tuple[np.ndarray, np.ndarray]:
        """float [R, B] twice: the mean under resampled prompts and under resampled draws."""
        by_draw = self.draw_weights @ curve.by_draw[name].T
        return by_draw if self.prompts == 1 else self.prompt_weights @ curve.by_prompt[name].T, by_draw


def _method(sample: _Resamples, curve: Curve, bon: Curve, units: Mapping[str, Units], budgets: np.ndarray) -> dict:
    intervals = {}
    for name, values in curve.by_prompt.items():
        reported = units.get(name, Units()).reported
        columns = _with_intervals(values.mean(1), *sample.replicates(curve, name))
        intervals[name] = {key: _plain(reported(column)) for key, column in columns.items()}
    first = next(iter(units))
    value, *ends = intervals[first].items()
    result = {
        "budget": budgets.tolist(),
        "reward": value[1],
        **dict(ends),
        "candidates": curve.candidates.tolist(),
        "spent": curve.spent.tolist(),
    }
    result |= _over(sample, curve, bon, first, OVER, units[first].scale)
    if "accepted" in intervals:
        checked = intervals["accepted"]
        result |= {"accepted": checked["value"], "accepted_low": checked["low"], "accepted_high": checked["high"]}
        result |= _over(sample, curve, bon, "accepted", ACCEPTED_OVER)
    if len(units) > 1:
        result["by_reward"] = {name: intervals[name] for name in units}
    return result


def _over(
    sample: _Resamples, curve: Curve, bon: Curve, name: str, keys: Sequence[str], scale: float = 1
) -> dict[str, list[float | None]]:
    """The advantage over best-of-N at each budget with its interval, paired, times `scale`."""
    mean = (curve.by_prompt[name] - bon.by_prompt[name]).mean(1)
    gap = np.subtract(*(sample.replicates(each, name)[0] for each in (curve, bon)))
    return {key: _plain(column * scale) for key, column in zip(keys, (mean, *interval(gap)), strict=True)}


def _with_intervals(value: np.ndarray, over_prompts: np.ndarray, over_draws: np.ndarray) -> dict[str, np.ndarray]:
    """A value and the ends of its two intervals, by ENDS."""
    return dict(zip(ENDS, (value, *interval(over_prompts), *interval(over_draws)), strict=True))


def _gain(sample: _Resamples, curve: Curve, bon: Curve, reward: str, budgets: np.ndarray) -> tuple[dict, np.ndarray]:
    """Ω, with intervals, over the budgets at which both can be simulated; and its replicates."""
    means = [each.by_prompt[reward].mean(1) for each in (curve, bon)]
    both = np.isfinite(means).all(0)
    if both.sum() < 2:
        return dict.fromkeys(ENDS), np.array([])
    pairs = (means, *zip(sample.replicates(curve, reward), sample.replicates(bon, reward), strict=True))
    gains = [gain(method[..., both], base[..., both], budgets[both]) for method, base in pairs]
    result = {key: _plain(value[None])[0] for key, value in _with_intervals(*gains).items()}
    return result | {"budgets": [budgets[both][0], budgets[both][-1]]}, gains[1]


def _differences(sample: _Resamples, curves: Mapping[str, Curve], reward: str, budgets: np.ndarray) -> dict:
    """What TTSnap gains over TTSp, and over itself without drafts, paired: Ω(ttsnap) − Ω(other).

    Over the budgets at which both, and best-of-N, can be simulated: Ω over other budgets is another figure.
    """
    found = {}
    for other in (name for name in ("ttsp", "ttsnap_steps") if {name, "ttsnap"} <= set(curves)):
        three = [curves[name] for name in ("ttsnap", other, "best_of_n")]
        known = np.isfinite([curve.by_prompt[reward].mean(1) for curve in three]).all(0)
        cut = [
            replace(curve, by_prompt=_at(curve.by_prompt, known), by_draw=_at(curve.by_draw, known)) for curve in three
        ]
        (ours, drawn), (theirs, others) = (_gain(sample, curve, cut[2], reward, budgets[known]) for curve in cut[:2])
        if None not in (ours["value"], theirs["value"]):
            ends = interval(drawn - others)
            values = _plain(np.array([ours["value"] - theirs["value"], *ends]))
            found[f"ttsnap_minus_{other}"] = dict(zip(ENDS, values, strict=False)) | {"budgets": ours["budgets"]}
    return found


def _at(values: Mapping[str, np.ndarray], budgets: np.ndarray) -> dict[str, np.ndarray]:
    """The values [B, …] at some of the budgets."""
    return {name: rows[budgets] for name, rows in values.items()}


def _notes(curves: Mapping[str, Curve], budgets: np.ndarray, costs: Costs, pool: int) -> list[str]:
    """What cannot be simulated and why, a line for all methods that share the reason."""
    methods: dict[str, list[str]] = {}
    for name, curve in curves.items():
        for limit in _limits(curve, budgets, costs, pool):
            methods.setdefault(limit, []).append(name)
    return [f"{', '.join(names)}: {text}" for text, names in methods.items()]


def _limits(curve: Curve, budgets: np.ndarray, costs: Costs, pool: int) -> list[str]:
    if curve.unread:
        return [f"{curve.unread}: not simulated"]
    finished = float(costs.spent(1, curve.schedule))
    charged = finished if costs.whole_survivors else costs.schedule(curve.schedule)
    none, many = curve.candidates < 1, curve.candidates > pool
    limits = []
    if none.any():
        limits.append(
            f"budgets up to {budgets[none].max():g} are under the {charged:g} that one candidate costs: not simulated"
        )
    if (short := ~none & (budgets < finished)).any():
        limits.append(
            f"budgets up to {budgets[short].max():g} are under the {finished:g} that one candidate costs "
            "if it is finished; --accounting whole leaves them out"
        )
    if many.any():
        limits.append(
            f"budgets from {budgets[many].min():g} pay for more than the {pool} candidates of the pool: not simulated"
        )
    return limits


def _plain(values: np.ndarray) -> list[float | None]:
    """Floats for JSON, None for NaN."""
    return [float(value) if np.isfinite(value) else None for value in values]
