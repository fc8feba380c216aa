"""Fit the pruning schedule that gains most over a range of budgets (DESIGN §3 Schedule search).

An evolutionary search: random schedules first, then generations of children of the best, all judged
on the same few draws of the fit prompts, by their gain less two standard errors over prompts (the end
of its interval: a bold schedule does not win by some prompts' luck); the best are judged again on many
fresh draws. Same seed, same schedule. With exact accounting those gain
that round up to more survivors than they are charged for; with the realised one they cannot.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ttsnap.errors import BadInput
from ttsnap.pruning.costs import Costs
from ttsnap.pruning.intervals import simpson_weights
from ttsnap.pruning.ranks import ranks
from ttsnap.pruning.schedule import BEST_OF_N, Schedule, survivors
from ttsnap.simulate.methods import (
    METHODS,
    base_looks,
    name_by_rank,
    noise_aware_looks,
    prune_named,
    readable_steps,
    renaming,
)
from ttsnap.simulate.montecarlo import best_of_n, draw_candidates, simulate
from ttsnap.simulate.summary import summarise
from ttsnap.storage.tensor import RewardTensor

LOOKS = {"ttsnap": noise_aware_looks, "ttsp": base_looks}
PARENTS, CHILDREN, FINALISTS = 20, 200, 12


@dataclass(frozen=True)
class Settings:
    """How much to search: schedules judged, draws to judge by, draws to decide by, most looks."""

    evaluations: int = 5000
    draws: int = 8
    final_draws: int = 100
    most_looks: int = 6


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
    """Fit on the prompts of `fit`, report on those of `test`: what `ttsnap fit-schedule` writes.

    {"schedule", "gain": {"fit", "held_out": {"value", "low", "high", …}, "held_out_realised"},
    "fallback", "evaluated", "seconds", "notes"}; `held_out_realised` is with no budget overspent.
    incumbent: a schedule, of a method that costs less to set up, that stays unless the one found clearly gains more
    on the fit prompts (the interval of the difference, paired by prompt, is above 0).
    A gain is Ω; over a single budget, which has no area, the reward over best-of-N's, in its unit.
    Falls back to best-of-N, the schedule without steps, where no schedule suits the budgets, where the
    gain on the fit prompts is not clearly positive (its interval includes 0), and where it is clearly
    negative as soon as no budget is overspent: then it came from survivors that were not charged for.
    """
    started = time.perf_counter()
    if method not in LOOKS:
        raise BadInput(f"method: {method!r} is not one of {', '.join(LOOKS)}")
    judge = Judge(fit, budgets, costs, method, settings.draws, np.random.default_rng([seed, 3]))
    finalists = search(judge, settings, np.random.default_rng([seed, 4]))
    result = _decide(finalists, fit, test, budgets, costs, method, seed, settings, incumbent)
    result |= {"evaluated": judge.evaluated, "seconds": time.perf_counter() - started}
    return result


class Judge:
    """Judges schedules by their gain over the budgets, every one on the same draws.

    Only budgets that best-of-N can be simulated at count; a schedule must suit all of those.
    """

    def __init__(self, tensor, budgets, costs: Costs, method: str, draws: int, rng):
        prompts, pool, _ = tensor.base.shape
        bon = costs.within(budgets)
        usable = (bon >= 1) & (bon <= pool)
        if not usable.any():
            raise BadInput(
                f"budgets: none of {min(budgets):g}..{max(budgets):g} pays for 1 to {pool} "
                f"best-of-N candidates at {costs.best_of_n():g} each; change --budgets"
            )
        self.budgets, self.costs, self.pool = np.asarray(budgets, float)[usable], costs, pool
        self.steps = readable_steps(tensor, noise_aware=method == "ttsnap")
        looks = np.concatenate(
            [LOOKS[method](tensor, self.steps), tensor.base[:, :, -1:]], axis=2
        ).transpose(2, 0, 1)
        keys = [*self.steps, costs.num_steps - 1]
        self.names = dict(zip(keys, name_by_rank(ranks(looks)), strict=True))
        drawn = draw_candidates(rng, prompts, pool, draws, pool)
        self.drawn = drawn + np.arange(0, prompts * pool, pool, dtype=np.int32)[:, None, None]
        self.reward = renaming(self.names[keys[-1]], tensor.base[:, :, -1].ravel().astype(float))
        curve = best_of_n(tensor, bon[usable])[tensor.reward]
        weights = simpson_weights(self.budgets)
        self.weights = weights / weights.sum() if len(weights) > 1 else np.ones(1)
        area = self.weights @ (curve - curve[0]).mean(1)
        self.best_of_n, self.area = self.weights @ curve, area if area > 0 else 1.0
        self.first, self.tables, self.known = {}, {}, {}

    @property
    def evaluated(self) -> int:
        return len(self.known)

    def __call__(self, schedule: Schedule) -> float:
        """Ω on the judge's draws (at one budget the gain in reward) less two standard errors; −inf if unsuited."""
        if schedule not in self.known:
            self.known[schedule] = self._judge(schedule)
        return self.known[schedule]

    def _judge(self, schedule: Schedule) -> float:
        gains = self.gains(schedule)
        return -np.inf if gains is None else _low_end(gains)

    def gains(self, schedule: Schedule) -> np.ndarray | None:
        """What each prompt gains, [P], in the unit of Ω; None if the schedule does not suit."""
        counts = self.costs.within(self.budgets, schedule)
        if counts.min() < 1 or counts.max() > self.pool or not {*schedule.steps} <= {*self.steps}:
            return None
        path = [*schedule.steps, self.costs.num_steps - 1]
        if path[0] not in self.first:
            self.first[path[0]] = self.names[path[0]].take(self.drawn)
        tables = [self._table(*pair) for pair in zip(path, path[1:], strict=False)]
        unique, place = np.unique(counts, return_inverse=True)
        means = np.array([self._means(path[0], tables, n, schedule.keep) for n in unique.tolist()])
        return (self.weights @ means[place] - self.best_of_n) / self.area

    def _means(self, first: int, tables: list[np.ndarray], n: int, keep: tuple) -> np.ndarray:
        """The mean reward of each prompt [P] with n candidates."""
        left = self.first[first][:, :, :n]
        chosen = self.reward.take(prune_named(left, tables, survivors(n, keep)))
        return chosen.reshape(len(left), -1).mean(1)

    def _table(self, step: int, following: int) -> np.ndarray:
        if (step, following) not in self.tables:
            self.tables[step, following] = renaming(self.names[step], self.names[following])
        return self.tables[step, following]


def _low_end(gains: np.ndarray) -> float:
    """Their mean less two standard errors."""
    return gains.mean() - 2 * gains.std() / len(gains) ** 0.5


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
    looks = dict(zip(parent.steps, parent.keep, strict=True))
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

    def measured(tensor: RewardTensor, its_costs: Costs, seed: int) -> tuple[dict, list[str]]:
        only, draws = {method: METHODS[method]}, settings.final_draws
        curves = simulate(
            [tensor], budgets, its_costs, chosen, methods=only, draws=draws, seed=seed
        )
        return _gain(summarise(curves, budgets, its_costs, [tensor], seed), method)

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
    stays = judge.gains(incumbent) if incumbent.steps else None
    if stays is not None and _low_end(judge.gains(chosen) - stays) <= 0:
        chosen, why = incumbent, ["the incumbent stays: no schedule clearly gains more"]
    whole = replace(costs, accounting="realised")
    on_fit, _ = measured(fit, costs, seed + 1)
    kept_to, _ = measured(fit, whole, seed + 1)
    if reason := _why_not(on_fit, kept_to if costs.accounting == "exact" else on_fit):
        tried = {"schedule": chosen.as_json(), "gain": on_fit, "gain_realised": kept_to}
        return result | {"best_pruning": tried, "notes": [f"best-of-N: {reason}"]}
    held_out, notes = measured(test, costs, seed + 2)
    notes = why + notes
    realised, _ = measured(test, whole, seed + 2)
    gains = {"fit": on_fit, "held_out": held_out, "held_out_realised": realised}
    share = (costs.spent(costs.within(budgets, chosen), chosen) / budgets).max()
    if costs.accounting == "exact" and share > 1.01:
        notes.append(
            f"whole survivors cost up to {share:.2f} × the budget; --accounting realised forbids it"
        )
    return {"schedule": chosen.as_json(), "gain": gains, "fallback": False, "notes": notes}


def _why_not(gain: dict, realised: dict) -> str:
    """Why a schedule with these gains on the fit prompts is not taken; "" where it is."""
    if gain["low"] is None or gain["low"] <= 0:
        return "pruning does not clearly pay on fit prompts"
    if realised["high"] is not None and realised["high"] < 0:
        return (
            "pruning pays only by survivors that the budget does not cover (--accounting realised)"
        )
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
