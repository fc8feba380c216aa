"""A simulation as `ttsnap simulate` writes it: the curves of each method with intervals, gains and notes.

Intervals are 95 % percentile bootstraps of the mean. `low`/`high` resample the prompts: as every
prompt has its draws, they cover the draws as well as the choice of prompts. `low_draws`/
`high_draws` resample the draws alone: what another seed would give on the same prompts. With one
prompt both resample the draws.
"""

import csv
import io
from collections.abc import Mapping, Sequence

import numpy as np

from ttsnap.pruning.costs import Costs
from ttsnap.pruning.intervals import gain, interval, resampling
from ttsnap.pruning.schedule import Schedule
from ttsnap.pruning.units import Units
from ttsnap.simulate.methods import METHODS, Method, fallback_steps
from ttsnap.simulate.montecarlo import Curve, simulate
from ttsnap.storage.tensor import RewardTensor, sources


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
    """What `ttsnap simulate --json` writes of some prompts of the tensors; the arguments are those of `simulate`.

    `summarise`, and "made_from": the tensors, "fallback_steps": where TTSnap read the base reward, "schedules": by
    method, "settings".
    """
    selected = [tensor.select(prompts) for tensor in tensors]
    curves = simulate(
        selected, budgets, costs, schedule,
        schedules=schedules, methods=methods, draws=draws, seed=seed,
    )  # fmt: skip
    result = summarise(curves, budgets, costs, selected, seed)
    fallback = sorted({s for tensor in selected for s in fallback_steps(tensor, schedule.looks)})
    if fallback:
        result["notes"].append(f"ttsnap: base reward at steps {fallback}, which have no other")
    return result | {
        "made_from": sources(tensors),
        "fallback_steps": fallback,
        "schedules": {name: curve.schedule.as_json() for name, curve in curves.items()},
        "settings": {
            "denoise_cost": costs.denoise,
            "look_cost": costs.look,
            "accounting": costs.accounting,
            "draws": draws,
            "seed": seed,
            "prompts": [prompts.start, prompts.stop],
            "pool": tensors[0].base.shape[1],
        },
    }


def as_csv(methods: Mapping[str, Mapping[str, Sequence]]) -> str:
    """The curves of a result's `methods`: one line per method and budget; an empty field where there is no value."""
    text = io.StringIO()
    first = next(iter(methods.values()))
    columns = [key for key in first if key != "by_reward"]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["method", *columns])
    for name, curve in methods.items():
        for row in zip(*(curve[column] for column in columns), strict=True):
            writer.writerow([name, *row])
    return text.getvalue()


def summarise(
    curves: Mapping[str, Curve], budgets: np.ndarray, costs: Costs, tensors: Sequence[RewardTensor], seed: int = 0
) -> dict:
    """{"methods": …, "gain": …, "gain_difference": …, "notes": …} of `simulate`'s curves of `tensors`.

    Rewards are in their reporting units, gains Ω fractions; None where there is no value.
    With several rewards `reward` and `gain` are of the first, `by_reward` has them all.
    """
    budgets = np.asarray(budgets, float)
    sample = _Resamples(curves, seed)
    units = {tensor.reward: tensor.units for tensor in tensors}
    rewards, pool = list(units), tensors[0].base.shape[1]
    gains, replicates, without = {}, {}, []
    for name in curves:
        if name == "best_of_n":
            continue
        gains[name], replicates[name] = _gain(sample, curves, name, rewards[0], budgets)
        if len(rewards) > 1:
            gains[name]["by_reward"] = {reward: _gain(sample, curves, name, reward, budgets)[0] for reward in rewards}
        if gains[name]["value"] is None and not curves[name].unread:
            without.append(name)
    notes = _notes(curves, budgets, costs, pool)
    if without:
        notes.append(
            f"{', '.join(without)}: no gain can be stated: it needs two or more budgets that it and "
            "best-of-N can be simulated at, and a best-of-N reward that rises over them"
        )
    if sample.prompts == 1:
        notes.append("one prompt: intervals cover the draws only")
    return {
        "reward": rewards[0],
        "unit": units[rewards[0]].label,
        "methods": {
            name: _method(sample, curve, curves["best_of_n"], units, budgets) for name, curve in curves.items()
        },
        "gain": gains,
        "gain_difference": _difference(gains, replicates),
        "notes": notes,
    }


class _Resamples:
    """One set of bootstrap weights for all methods, so that differences are paired."""

    def __init__(self, curves: Mapping[str, Curve], seed: int):
        rng = np.random.default_rng([seed, 2])
        curve = next(iter(curves.values()))
        self.prompts = next(iter(curve.by_prompt.values())).shape[1]
        draws = next(iter(curve.by_draw.values())).shape[1]
        self.of_prompts = resampling(rng, self.prompts)
        self.of_draws = resampling(rng, draws)

    def replicates(self, curve: Curve, name: str) -> tuple[np.ndarray, np.ndarray]:
        """float [R, B] twice: the mean under resampled prompts, under resampled draws."""
        by_draw = self.of_draws @ curve.by_draw[name].T
        if self.prompts == 1:
            return by_draw, by_draw
        return self.of_prompts @ curve.by_prompt[name].T, by_draw


def _method(sample: _Resamples, curve: Curve, bon: Curve, units: Mapping[str, Units], budgets) -> dict:
    def values(name: str) -> dict:
        over_prompts, over_draws = sample.replicates(curve, name)
        columns = dict(
            zip(
                ("value", "low", "high", "low_draws", "high_draws"),
                (curve.by_prompt[name].mean(1), *interval(over_prompts), *interval(over_draws)),
                strict=True,
            )
        )
        reported = units.get(name, Units()).reported
        return {key: _plain(reported(column)) for key, column in columns.items()}

    intervals = {name: values(name) for name in curve.by_prompt}
    first_name, first_units = next(iter(units.items()))
    first = intervals[first_name]
    result = {"budget": budgets.tolist(), "reward": first["value"], **first}
    del result["value"]
    result |= {"candidates": curve.candidates.tolist(), "spent": curve.spent.tolist()}
    result |= _over(sample, curve, bon, first_name, first_units.scale)
    if "accepted" in intervals:
        checked = intervals["accepted"]
        result["accepted"] = checked["value"]
        result |= {f"accepted_{end}": checked[end] for end in ("low", "high")}
    if len(units) > 1:
        result["by_reward"] = {name: intervals[name] for name in units}
    return result


def _over(sample: _Resamples, curve: Curve, bon: Curve, reward: str, scale: float) -> dict:
    """What a method reaches over best-of-N at each budget, paired: a difference in reporting units."""
    mean = (curve.by_prompt[reward] - bon.by_prompt[reward]).mean(1)
    pair = [sample.replicates(each, reward)[0] for each in (curve, bon)]
    keys = ("over_best_of_n", "over_best_of_n_low", "over_best_of_n_high")
    columns = (mean, *interval(pair[0] - pair[1]))
    return {key: _plain(column * scale) for key, column in zip(keys, columns, strict=True)}


def _gain(
    sample: _Resamples, curves: Mapping[str, Curve], name: str, reward: str, budgets: np.ndarray
) -> tuple[dict, np.ndarray]:
    """Ω over the budgets that both can be simulated at, with intervals; and its replicates."""
    method, bon = curves[name], curves["best_of_n"]
    means = [curve.by_prompt[reward].mean(1) for curve in (method, bon)]
    both = np.isfinite(means).all(0)
    if both.sum() < 2:
        return dict.fromkeys(("value", "low", "high", "low_draws", "high_draws")), np.array([])
    pairs = zip(sample.replicates(method, reward), sample.replicates(bon, reward), strict=True)
    over_prompts, over_draws = (gain(m[:, both], b[:, both], budgets[both]) for m, b in pairs)
    value = gain(means[0][both], means[1][both], budgets[both])
    ends = [*interval(over_prompts), *interval(over_draws)]
    keys = ("value", "low", "high", "low_draws", "high_draws")
    result = dict(zip(keys, _plain(np.array([value, *ends])), strict=True))
    return result | {"budgets": [budgets[both][0], budgets[both][-1]]}, over_prompts


def _difference(gains: dict, replicates: dict) -> dict:
    """What TTSnap gains over TTSp, paired: Ω(ttsnap) − Ω(ttsp)."""
    if any(gains.get(name, {}).get("value") is None for name in ("ttsnap", "ttsp")):
        return {}
    low, high = interval(replicates["ttsnap"] - replicates["ttsp"])
    value = gains["ttsnap"]["value"] - gains["ttsp"]["value"]
    values = _plain(np.array([value, low, high]))
    return {"ttsnap_minus_ttsp": dict(zip(("value", "low", "high"), values, strict=True))}


def _notes(curves: Mapping[str, Curve], budgets: np.ndarray, costs: Costs, pool: int) -> list[str]:
    """What cannot be simulated and why: a line for all the methods that it is true of."""
    methods: dict[str, list[str]] = {}
    for name, curve in curves.items():
        for text in _limits(curve, budgets, costs, pool):
            methods.setdefault(text, []).append(name)
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
