"""Judges pruning schedules on a reward tensor, thousands of them, by what they gain over best-of-N."""

import numpy as np

from ttsnap.errors import BadInput
from ttsnap.pruning.costs import Costs
from ttsnap.pruning.intervals import simpson_weights
from ttsnap.pruning.ranks import ranks
from ttsnap.pruning.schedule import Schedule, survivors
from ttsnap.simulate.methods import base_looks, name_by_rank, noise_aware_looks, prune_named, readable_steps, renaming
from ttsnap.simulate.montecarlo import best_of_n, draw_candidates

LOOK_READERS = {"ttsnap": noise_aware_looks, "ttsp": base_looks}


class Judge:
    """Judges schedules by their gain over the budgets, all on the same draws.

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
        looks = np.concatenate([LOOK_READERS[method](tensor, self.steps), tensor.base[:, :, -1:]], axis=2).transpose(
            2, 0, 1
        )
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
        """How many schedules were judged."""
        return len(self.known)

    def __call__(self, schedule: Schedule) -> float:
        """Ω on the judge's draws (at one budget the gain in reward) less two standard errors; −inf if unsuited."""
        if schedule not in self.known:
            gains = self.gains(schedule)
            self.known[schedule] = -np.inf if gains is None else low_end(gains)
        return self.known[schedule]

    def gains(self, schedule: Schedule) -> np.ndarray | None:
        """What each prompt gains, [P], in the unit of Ω; None if the schedule does not suit."""
        counts = self.costs.within(self.budgets, schedule)
        if counts.min() < 1 or counts.max() > self.pool or not {*schedule.looks} <= {*self.steps}:
            return None
        path = [*schedule.looks, self.costs.num_steps - 1]
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


def low_end(gains: np.ndarray) -> float:
    """Their mean less two standard errors."""
    return gains.mean() - 2 * gains.std() / len(gains) ** 0.5
