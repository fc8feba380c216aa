"""Fit the pruning schedule that gains most over a range of budgets.

An evolutionary search: random schedules first, then generations of children of the best. All are judged on the same
few draws of the fit prompts, and of prompts drawn from a smooth model of their values, so that few prompts do not
decide by their luck; many fresh draws then decide among the best. The same seed gives the same schedule. Under exact
accounting a schedule can gain by rounding up to more survivors than it is charged for; under whole accounting it
cannot.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ttsnap.errors import BadInput
from ttsnap.pruning.costs import Costs
from ttsnap.pruning.schedule import BEST_OF_N, Look, Schedule, look_names
from ttsnap.simulate.judge import LOOK_READERS, ScheduleJudge
from ttsnap.simulate.methods import METHODS, fallback_looks
from ttsnap.simulate.montecarlo import simulate
from ttsnap.simulate.summary import ENDS, OVER, summarise
from ttsnap.storage.costs import costs_to_json
from ttsnap.storage.tensor import RewardTensor, sources

PARENTS, CHILDREN, FINALISTS = 20, 200, 12


@dataclass(frozen=True)
class Settings:
    """The extent of the search."""

    evaluations: int = 5000  # schedules to judge
    draws: int = 8  # to judge them by
    final_draws: int = 100  # to choose among the best by
    most_looks: int = 6
    modelled: int = 100  # prompts drawn from a model of the fit prompts' values, to judge by besides them


def fit_prompts(
    tensor: RewardTensor,
    fit: slice,
    test: slice,
    budgets: np.ndarray,
    costs: Costs,
    method: str = "ttsnap",
    seed: int = 0,
    settings: Settings = Settings(),
    *,
    without_drafts: bool = False,
    per_budget: bool = False,
) -> dict:
    """The content of `ttsnap fit-schedule --json`: a schedule fitted on some prompts and reported on others.

    Adds to `fit_schedule` "fallback_looks" (where TTSnap reads the base reward), "made_from" (the tensor), "settings",
    and with per_budget a fit for each budget alone. Raises BadInput where the prompts overlap.
    """
    if fit.start < test.stop and test.start < fit.stop:
        raise BadInput(
            f"--test-prompts: {test.start}:{test.stop} overlaps --fit-prompts "
            f"{fit.start}:{fit.stop}; report on prompts that were not fitted on"
        )
    parts, how = (tensor.select(fit), tensor.select(test)), (costs, method, seed, settings, without_drafts)
    result = fit_schedule(*parts, budgets, *how)
    if method == "ttsnap":
        result["fallback_looks"] = lacking = fallback_looks(tensor, Schedule.from_json(result["schedule"]).looks)
        if lacking:
            result["notes"].append(f"ttsnap: base reward at {look_names(lacking)}: no noise-aware one there")
    if per_budget:
        fits = [fit_schedule(*parts, budgets[i : i + 1], *how) for i in range(len(budgets))]
        result["per_budget"] = [{"budget": budget, **fit} for budget, fit in zip(budgets.tolist(), fits, strict=True)]
    result["made_from"] = sources([tensor])
    result["settings"] = {
        "method": method,
        "without_drafts": without_drafts,
        **costs_to_json(costs),
        "num_steps": costs.num_steps,
        "budgets": budgets.tolist(),
        "fit_prompts": [fit.start, fit.stop],
        "test_prompts": [test.start, test.stop],
        "seed": seed,
    }
    return result


def fit_schedule(
    fit: RewardTensor,
    test: RewardTensor,
    budgets: np.ndarray,
    costs: Costs,
    method: str = "ttsnap",
    seed: int = 0,
    settings: Settings = Settings(),
    without_drafts: bool = False,
) -> dict:
    """Fit on the prompts of `fit` and report on those of `test`; without_drafts: with looks at steps alone.

    Returns {"schedule", "gain": {"fit", "held_out", "held_out_realised"}, "fallback", "evaluated", "seconds", "notes"}.
    A gain {"value", "low", "high", …} is Ω, or at a single budget, which spans no area, the reward over best-of-N's in
    reporting units; `held_out_realised` is the gain with no budget overspent.

    Falls back to best-of-N, the schedule without looks, where no schedule suits the budgets, where the gain on the fit
    prompts is not clearly positive (its interval includes 0), and where it is clearly negative once no budget is
    overspent, because it came from survivors that were not charged for.
    """
    started = time.perf_counter()
    if method not in LOOK_READERS:
        raise BadInput(f"method: {method!r} is not one of {', '.join(LOOK_READERS)}")
    if without_drafts:
        fit, test = _steps_alone(fit), _steps_alone(test)

    def judge_by(draws: int, stream: int) -> ScheduleJudge:
        rng = np.random.default_rng([seed, stream])
        return ScheduleJudge(fit, budgets, costs, method, draws, rng, settings.modelled)

    judge = judge_by(settings.draws, 3)
    finalists = search(judge, settings, np.random.default_rng([seed, 4]))
    if finalists:
        chosen = max(finalists, key=judge_by(settings.final_draws, 5))
        result = _measure(chosen, fit, test, budgets, costs, method, seed, settings.final_draws)
    elif judge.looks:
        result = _fallback(f"no schedule suits all the budgets with a pool of {fit.base.shape[1]} candidates")
    else:
        result = _fallback("the tensor has no reward before the final step to prune by")
    return result | {"evaluated": judge.evaluated, "seconds": time.perf_counter() - started}


def _steps_alone(tensor: RewardTensor) -> RewardTensor:
    """The tensor without its drafts."""
    count, noise_aware = len(tensor.drafts), tensor.noise_aware
    noise_aware = None if noise_aware is None else noise_aware[:, :, count:]
    return replace(tensor, base=tensor.base[:, :, count:], noise_aware=noise_aware, drafts=[])


def search(judge: ScheduleJudge, settings: Settings, rng: np.random.Generator) -> list[Schedule]:
    """The best schedules that `settings.evaluations` judgements find, best first."""
    if not judge.looks:
        return []
    most = min(settings.most_looks, len(judge.looks))
    for _ in range(settings.evaluations // 4):
        judge(_random_schedule(judge.looks, most, rng))
    tries = 0
    while judge.evaluated < settings.evaluations and tries < 2 * settings.evaluations:
        parents = _best(judge, PARENTS)
        if not parents:
            return []
        for _ in range(min(CHILDREN, settings.evaluations - judge.evaluated)):
            tries += 1
            judge(_child(parents[rng.integers(len(parents))], judge.looks, most, rng))
    return _best(judge, FINALISTS)


def _best(judge: ScheduleJudge, count: int) -> list[Schedule]:
    suitable = [schedule for schedule, value in judge.known.items() if np.isfinite(value)]
    return sorted(suitable, key=judge.known.get, reverse=True)[:count]


def _fraction(value: float) -> float:
    return round(float(np.clip(value, 0.02, 0.98)), 2)


def _schedule(keep: dict[int, float], looks: Sequence[Look]) -> Schedule:
    """The schedule that keeps these fractions, by place among the looks there are."""
    places = sorted(keep)
    return Schedule(tuple(looks[place] for place in places), tuple(_fraction(keep[place]) for place in places))


def _random_schedule(looks: Sequence[Look], most: int, rng: np.random.Generator) -> Schedule:
    places = sorted(rng.choice(len(looks), size=rng.integers(1, most + 1), replace=False).tolist())
    return _schedule(dict(zip(places, rng.uniform(0.1, 0.9, len(places)), strict=True)), looks)


def _child(parent: Schedule, looks: Sequence[Look], most: int, rng: np.random.Generator) -> Schedule:
    """The parent with one look added, removed or moved, or with other fractions."""
    keep = dict(zip(map(looks.index, parent.looks), parent.keep, strict=True))
    free = [place for place in range(len(looks)) if place not in keep]
    change = rng.choice(["fractions", "move", "add", "remove"], p=[0.45, 0.3, 0.15, 0.1])
    if change == "remove" and len(keep) > 1:
        del keep[rng.choice(list(keep)).item()]
    elif change == "add" and free and len(keep) < most:
        keep[rng.choice(free).item()] = rng.uniform(0.3, 0.95)
    elif change == "move" and free:
        place = rng.choice(list(keep)).item()
        near = sorted(free, key=lambda other: (abs(other - place), other))[:4]
        keep[rng.choice(near).item()] = keep.pop(place)
    shifts = np.exp(rng.normal(0, 0.2, len(keep))) ** (rng.random(len(keep)) < 0.6)
    return _schedule({place: keep[place] * by for place, by in zip(keep, shifts, strict=True)}, looks)


def _fallback(reason: str, **tried) -> dict:
    nothing = {"value": 0.0, "low": 0.0, "high": 0.0}
    gains = dict.fromkeys(("fit", "held_out", "held_out_realised"), nothing)
    return {
        "schedule": BEST_OF_N.as_json(),
        "gain": gains,
        "fallback": True,
        **tried,
        "notes": [f"best-of-N: {reason}"],
    }


def _measure(chosen, fit, test, budgets, costs, method, seed, draws) -> dict:
    """The gain of the chosen schedule on the prompts of `fit` and `test`; best-of-N where it does not clearly pay."""

    def gained(tensor: RewardTensor, costs: Costs, seed: int) -> tuple[dict, list[str]]:
        only = {method: METHODS[method]}
        curves = simulate([tensor], budgets, costs, chosen, methods=only, draws=draws, seed=seed)
        return _gain(summarise(curves, budgets, costs, [tensor], seed), method)

    whole, exact = replace(costs, accounting="whole"), costs.accounting == "exact"
    on_fit, _ = gained(fit, costs, seed + 1)
    within_budget, _ = gained(fit, whole, seed + 1)
    reason = ""
    if on_fit["low"] is None or on_fit["low"] <= 0:
        reason = "pruning does not clearly pay on fit prompts"
    elif exact and within_budget["high"] is not None and within_budget["high"] < 0:
        reason = "pruning pays only by survivors that the budget does not cover (--accounting whole)"
    if reason:
        tried = {"schedule": chosen.as_json(), "gain": on_fit, "gain_realised": within_budget}
        return _fallback(reason, best_pruning=tried)
    held_out, notes = gained(test, costs, seed + 2)
    held_out_whole, _ = gained(test, whole, seed + 2)
    share = (costs.spent(costs.within(budgets, chosen), chosen) / budgets).max()
    if exact and share > 1.01:
        notes.append(f"whole survivors cost up to {share:.2f} × the budget; --accounting whole forbids it")
    gains = {"fit": on_fit, "held_out": held_out, "held_out_realised": held_out_whole}
    return {"schedule": chosen.as_json(), "gain": gains, "fallback": False, "notes": notes}


def _gain(summary: dict, method: str) -> tuple[dict, list[str]]:
    """(Ω, notes); where just one budget can be simulated, the reward over best-of-N's there."""
    gain, notes, curve = summary["gain"][method], summary["notes"], summary["methods"][method]
    places = [i for i, value in enumerate(curve["over_best_of_n"]) if value is not None]
    if gain["value"] is not None or len(places) != 1:
        return gain, notes
    at = places[0]
    gain = {end: curve[column][at] for end, column in zip(ENDS[:3], OVER, strict=True)}
    gain |= {"unit": summary["unit"], "budgets": [curve["budget"][at]]}
    return gain, [note for note in notes if "no gain can be stated" not in note]
