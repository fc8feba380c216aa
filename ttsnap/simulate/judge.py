"""Judges thousands of pruning schedules on a reward tensor by their gain over best-of-N."""

from functools import cache
from itertools import pairwise

import numpy as np

from ttsnap.errors import BadInput
from ttsnap.pruning.costs import Costs
from ttsnap.pruning.intervals import simpson_weights
from ttsnap.pruning.ranks import ranks
from ttsnap.pruning.schedule import Schedule, survivors
from ttsnap.simulate.methods import base_looks, name_by_rank, noise_aware_looks, prune_named, readable_steps, renaming
from ttsnap.simulate.montecarlo import best_of_n, draw_candidates

LOOK_READERS = {"ttsnap": noise_aware_looks, "ttsp": base_looks}


class ScheduleJudge:
    """Judges schedules by their gain over the budgets, all on the same draws.

    Only budgets at which best-of-N can be simulated count; a schedule must suit all of them.
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
        looks = np.concatenate([LOOK_READERS[method](tensor, self.steps), tensor.base[:, :, -1:]], axis=2)
        final = costs.num_steps - 1
        names = name_by_rank(ranks(looks.transpose(2, 0, 1)))
        self.names = dict(zip([*self.steps, final], names, strict=True))
        drawn = draw_candidates(rng, prompts, pool, draws, pool)
        self.drawn = drawn + np.arange(0, prompts * pool, pool, dtype=np.int32)[:, None, None]
        self.reward = renaming(self.names[final], tensor.base[:, :, -1].ravel().astype(float))
        curve = best_of_n(tensor, bon[usable])[tensor.reward]
        weights = simpson_weights(self.budgets)
        self.weights = weights / weights.sum() if len(weights) > 1 else np.ones(1)
        area = self.weights @ (curve - curve[0]).mean(1)
        self.best_of_n, self.area = self.weights @ curve, area if area > 0 else 1.0
        self.known: dict[Schedule, float] = {}
        self._first = cache(lambda step: self.names[step].take(self.drawn))
        self._table = cache(lambda step, following: renaming(self.names[step], self.names[following]))

    @property
    def evaluated(self) -> int:
        """How many schedules have been judged."""
        return len(self.known)

    def __call__(self, schedule: Schedule) -> float:
        """Ω (at a single budget the gain in reward) less two standard errors; −inf for an unsuitable schedule."""
        if schedule not in self.known:
            gains = self.gains(schedule)
            self.known[schedule] = -np.inf if gains is None else low_end(gains)
        return self.known[schedule]

    def gains(self, schedule: Schedule) -> np.ndarray | None:
        """The gain of each prompt [P], in the unit of Ω; None for an unsuitable schedule."""
        counts = self.costs.within(self.budgets, schedule)
        if counts.min() < 1 or counts.max() > self.pool or not {*schedule.looks} <= {*self.steps}:
            return None
        path = [*schedule.looks, self.costs.num_steps - 1]
        first, tables = self._first(path[0]), [self._table(*pair) for pair in pairwise(path)]
        unique, place = np.unique(counts, return_inverse=True)
        chosen = [prune_named(first[:, :, :n], tables, survivors(n, schedule.keep)) for n in unique.tolist()]
        means = np.array([self.reward.take(names).mean(1) for names in chosen])
        return (self.weights @ means[place] - self.best_of_n) / self.area


def low_end(gains: np.ndarray) -> float:
    """The mean less two standard errors."""
    return gains.mean() - 2 * gains.std() / len(gains) ** 0.5
