"""Fit the pruning schedule that gains most over a range of budgets.

An evolutionary search: random schedules first, then generations of children of the best, all judged
on the same few draws of the fit prompts, by their gain less two standard errors over prompts (the low
end of its interval, so that a bold schedule does not win by the luck of a few prompts); the best are judged
again on many fresh draws. The same seed gives the same schedule. Under exact accounting schedules gain by
rounding up to more survivors than they are charged for; under whole accounting they cannot.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ttsnap.errors import BadInput
from ttsnap.pruning.costs import Costs
from ttsnap.pruning.schedule import BEST_OF_N, Schedule
from ttsnap.simulate.judge import LOOK_READERS, Judge, low_end
from ttsnap.simulate.methods import METHODS, fallback_steps, readable_steps
from ttsnap.simulate.montecarlo import simulate
from ttsnap.simulate.summary import summarise
from ttsnap.storage.tensor import RewardTensor, sources

PARENTS, CHILDREN, FINALISTS = 20, 200, 12


@dataclass(frozen=True)
class Settings:
    """How much to search.

    evaluations  schedules to judge
    draws        to judge them by; final_draws: to decide among the best by
    most_looks   looks in a schedule, at most
    """

    evaluations: int = 5000
    draws: int = 8
    final_draws: int = 100
    most_looks: int = 6


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
    incumbent: Schedule = BEST_OF_N,
    per_budget: bool = False,
) -> dict:
    """What `ttsnap fit-schedule --json` writes of a schedule fitted on some prompts and reported on others.

    `fit_schedule`, and "fallback_steps": where TTSnap reads the base reward, "made_from": the tensor, "settings";
    with per_budget also a fit for each budget alone. Raises BadInput where the prompts overlap.
    """
    if fit.start < test.stop and test.start < fit.stop:
        raise BadInput(
            f"--test-prompts: {test.start}:{test.stop} overlaps --fit-prompts "
            f"{fit.start}:{fit.stop}; report on prompts that were not fitted on"
        )
    parts, how = (tensor.select(fit), tensor.select(test)), (costs, method, seed, settings)
    result = fit_schedule(*parts, budgets, *how, incumbent)
    if method == "ttsnap":
        steps = fallback_steps(tensor, result["schedule"]["steps"])
        result["fallback_steps"] = steps
        if steps:
            result["notes"].append(f"ttsnap: base reward at steps {steps}, which have no other")
    if per_budget:
        result["per_budget"] = [
            {"budget": budget, **fit_schedule(*parts, budgets[i : i + 1], *how)}
            for i, budget in enumerate(budgets.tolist())
        ]
    result["made_from"] = sources([tensor])
    result["settings"] = {
        "method": method,
        "incumbent": incumbent.as_json(),
        "denoise_cost": costs.denoise,
        "look_cost": costs.look,
        "accounting": costs.accounting,
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
    incumbent: Schedule = BEST_OF_N,
) -> dict:
    """Fit on the prompts of `fit` and report on those of `test`.

    Returns {"schedule", "gain": {"fit", "held_out": {"value", "low", "high", …}, "held_out_realised"},
    "fallback", "evaluated", "seconds", "notes"}; `held_out_realised` is the gain with no budget overspent.
    incumbent: a schedule, of a method that costs less to set up, that stays unless the one found clearly gains more
    on the fit prompts (the interval of the difference, paired by prompt, is above 0).
    A gain is Ω; over a single budget, which has no area, it is the reward over best-of-N's, in reporting units.
    Falls back to best-of-N, the schedule without looks, where no schedule suits the budgets, where the
    gain on the fit prompts is not clearly positive (its interval includes 0), and where it is clearly
    negative as soon as no budget is overspent: then it came from survivors that were not charged for.
    """
    started = time.perf_counter()
    if method not in LOOK_READERS:
        raise BadInput(f"method: {method!r} is not one of {', '.join(LOOK_READERS)}")
    judge = Judge(fit, budgets, costs, method, settings.draws, np.random.default_rng([seed, 3]))
    finalists = search(judge, settings, np.random.default_rng([seed, 4]))
    result = _decide(finalists, fit, test, budgets, costs, method, seed, settings, incumbent)
    result |= {"evaluated": judge.evaluated, "seconds": time.perf_counter() - started}
    return result


def search(judge: Judge, settings: Settings, rng: np.random.Generator) -> list[Schedule]:
    """The best schedules found by `settings.evaluations` judgements, best first."""
    if not judge.steps:
        return []
    most = min(settings.most_looks, len(judge.steps))
    for _ in range(settings.evaluations // 4):
        judge(_random_schedule(judge.steps, most, rng))
    tries = 0
    while judge.evaluated < settings.evaluations and tries < 2 * settings.evaluations:
        parents = _best(judge, PARENTS)
        if not parents:
            return []
        for _ in range(min(CHILDREN, settings.evaluations - judge.evaluated)):
            tries += 1
            judge(_child(parents[rng.integers(len(parents))], judge.steps, most, rng))
    return _best(judge, FINALISTS)


def _best(judge: Judge, count: int) -> list[Schedule]:
    suitable = [schedule for schedule, value in judge.known.items() if np.isfinite(value)]
    return sorted(suitable, key=judge.known.get, reverse=True)[:count]


def _fraction(value: float) -> float:
    return round(float(np.clip(value, 0.02, 0.98)), 2)


def _random_schedule(steps: Sequence[int], most: int, rng: np.random.Generator) -> Schedule:
    looks = sorted(rng.choice(steps, size=rng.integers(1, most + 1), replace=False).tolist())
    return Schedule(tuple(looks), tuple(_fraction(f) for f in rng.uniform(0.1, 0.9, len(looks))))


def _child(parent: Schedule, steps: Sequence[int], most: int, rng: np.random.Generator) -> Schedule:
    """The parent with one look added, taken away or moved, or with other fractions."""
    looks = dict(zip(parent.looks, parent.keep, strict=True))
    free = [step for step in steps if step not in looks]
    change = rng.choice(["fractions", "move", "add", "remove"], p=[0.45, 0.3, 0.15, 0.1])
    if change == "remove" and len(looks) > 1:
        del looks[rng.choice(list(looks)).item()]
    elif change == "add" and free and len(looks) < most:
        looks[rng.choice(free).item()] = rng.uniform(0.3, 0.95)
    elif change == "move" and free:
        step = rng.choice(list(looks)).item()
        near = sorted(free, key=lambda other: (abs(other - step), other))[:4]
        looks[rng.choice(near).item()] = looks.pop(step)
    shifts = np.exp(rng.normal(0, 0.2, len(looks))) ** (rng.random(len(looks)) < 0.6)
    looks = {step: _fraction(looks[step] * by) for step, by in zip(looks, shifts, strict=True)}
    return Schedule(tuple(sorted(looks)), tuple(looks[step] for step in sorted(looks)))


def _decide(finalists, fit, test, budgets, costs, method, seed, settings, incumbent) -> dict:
    """Choose among the finalists on fresh draws, or best-of-N; and measure on the test prompts."""

    def gained(tensor: RewardTensor, costs: Costs, seed: int) -> tuple[dict, list[str]]:
        only, draws = {method: METHODS[method]}, settings.final_draws
        curves = simulate([tensor], budgets, costs, chosen, methods=only, draws=draws, seed=seed)
        return _gain(summarise(curves, budgets, costs, [tensor], seed), method)

    nothing = {"value": 0.0, "low": 0.0, "high": 0.0}
    gains = {"fit": nothing, "held_out": nothing, "held_out_realised": nothing}
    result = {"schedule": BEST_OF_N.as_json(), "gain": gains, "fallback": True}
    if not finalists:
        note = f"no schedule suits all the budgets with a pool of {fit.base.shape[1]} candidates"
        if not readable_steps(fit, noise_aware=method == "ttsnap"):
            note = "the tensor has no reward before the final step to prune by"
        return result | {"notes": [f"best-of-N: {note}"]}
    rng = np.random.default_rng([seed, 5])
    judge = Judge(fit, budgets, costs, method, settings.final_draws, rng)
    chosen, why = max(finalists, key=judge), []
    stays = judge.gains(incumbent) if incumbent.looks else None
    if stays is not None and low_end(judge.gains(chosen) - stays) <= 0:
        chosen, why = incumbent, ["the incumbent stays: no schedule clearly gains more"]
    whole = replace(costs, accounting="whole")
    on_fit, _ = gained(fit, costs, seed + 1)
    within_budget, _ = gained(fit, whole, seed + 1)
    if reason := _why_not(on_fit, within_budget if costs.accounting == "exact" else on_fit):
        tried = {"schedule": chosen.as_json(), "gain": on_fit, "gain_realised": within_budget}
        return result | {"best_pruning": tried, "notes": [f"best-of-N: {reason}"]}
    held_out, notes = gained(test, costs, seed + 2)
    notes = why + notes
    held_out_whole, _ = gained(test, whole, seed + 2)
    gains = {"fit": on_fit, "held_out": held_out, "held_out_realised": held_out_whole}
    share = (costs.spent(costs.within(budgets, chosen), chosen) / budgets).max()
    if costs.accounting == "exact" and share > 1.01:
        notes.append(f"whole survivors cost up to {share:.2f} × the budget; --accounting whole forbids it")
    return {"schedule": chosen.as_json(), "gain": gains, "fallback": False, "notes": notes}


def _why_not(gain: dict, within_budget: dict) -> str:
    """Why a schedule is not taken that has this gain on the fit prompts, and this one with no budget overspent; ""
    where it is taken.
    """
    if gain["low"] is None or gain["low"] <= 0:
        return "pruning does not clearly pay on fit prompts"
    if within_budget["high"] is not None and within_budget["high"] < 0:
        return "pruning pays only by survivors that the budget does not cover (--accounting whole)"
    return ""


def _gain(summary: dict, method: str) -> tuple[dict, list[str]]:
    """(Ω, notes); where just one budget can be simulated, the reward over best-of-N's there."""
    gain, notes, curve = summary["gain"][method], summary["notes"], summary["methods"][method]
    places = [i for i, value in enumerate(curve["over_best_of_n"]) if value is not None]
    if gain["value"] is not None or len(places) != 1:
        return gain, notes
    keys = ("over_best_of_n", "over_best_of_n_low", "over_best_of_n_high")
    ends = (curve[key][places[0]] for key in keys)
    gain = dict(zip(("value", "low", "high"), ends, strict=True))
    gain |= {"unit": summary["unit"], "budgets": [curve["budget"][places[0]]]}
    return gain, [note for note in notes if "no gain can be stated" not in note]
