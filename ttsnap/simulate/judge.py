"""Judges thousands of pruning schedules on a reward tensor by their gain over best-of-N.

A few prompts say little about which schedule is best, so to them are added prompts drawn from a smooth model of their
values: `modelled`.
"""

from functools import cache
from itertools import pairwise

import numpy as np

from ttsnap.errors import BadInput
from ttsnap.pruning.costs import Costs
from ttsnap.pruning.intervals import simpson_weights
from ttsnap.pruning.ranks import ranks
from ttsnap.pruning.schedule import Schedule, survivors
from ttsnap.simulate.methods import base_looks, name_by_rank, noise_aware_looks, prune_named, readable_looks, renaming
from ttsnap.simulate.montecarlo import best_of_n, draw_candidates
from ttsnap.storage.tensor import RewardTensor

LOOK_READERS = {"ttsnap": noise_aware_looks, "ttsp": base_looks}


class ScheduleJudge:
    """Judges schedules by their gain over the budgets, all on the same draws.

    Only budgets at which best-of-N can be simulated count; a schedule must suit all of them.

    modelled: how many prompts drawn from a model of the tensor's values to judge by besides its own.
    """

    def __init__(self, tensor, budgets, costs: Costs, method: str, draws: int, rng, modelled: int = 0):
        pool = tensor.base.shape[1]
        bon = costs.within(budgets)
        usable = (bon >= 1) & (bon <= pool)
        if not usable.any():
            raise BadInput(
                f"budgets: none of {min(budgets):g}..{max(budgets):g} pays for 1 to {pool} "
                f"best-of-N candidates at {costs.best_of_n():g} each; change --budgets"
            )
        self.budgets, self.costs, self.pool = np.asarray(budgets, float)[usable], costs, pool
        self.looks = readable_looks(tensor, noise_aware=method == "ttsnap")
        values = np.concatenate([LOOK_READERS[method](tensor, self.looks), tensor.base[:, :, -1:]], axis=2)
        if modelled:
            values = np.concatenate([values, modelled_prompts(values, modelled, rng)])
        prompts, finals, final = len(values), values[:, :, -1:], costs.num_steps - 1
        names = name_by_rank(ranks(values.transpose(2, 0, 1)))
        self.names = dict(zip([*self.looks, final], names, strict=True))
        drawn = draw_candidates(rng, prompts, pool, draws, pool)
        self.drawn = drawn + np.arange(0, prompts * pool, pool, dtype=np.int32)[:, None, None]
        self.reward = renaming(self.names[final], finals.ravel().astype(float))
        curve = best_of_n(RewardTensor(finals), bon[usable])["reward"]
        weights = simpson_weights(self.budgets)
        self.weights = weights / weights.sum() if len(weights) > 1 else np.ones(1)
        area = self.weights @ (curve - curve[0]).mean(1)
        self.best_of_n, self.area = self.weights @ curve, area if area > 0 else 1.0
        self.known: dict[Schedule, float] = {}
        self._first = cache(lambda look: self.names[look].take(self.drawn))
        self._table = cache(lambda look, following: renaming(self.names[look], self.names[following]))

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
        if counts.min() < 1 or counts.max() > self.pool or not {*schedule.looks} <= {*self.looks}:
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


def modelled_prompts(values: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """float32 [count, C, k+1]: prompts drawn from Gaussian copulas fitted to `values` [P, C, k+1], final rewards last.

    Finals are distributed as those of all prompts, each about its mean and in units of its spread, times the mean
    spread. Looks only rank, so that their distribution does not matter.
    """
    finals = values[:, :, -1].astype(float)
    spread = finals.std(axis=1, keepdims=True)
    known = np.sort((finals - finals.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, 1), axis=None)
    powers, axes = np.linalg.eigh(_correlations(values)[np.arange(count) % len(values)])
    normal = rng.normal(size=(count, *values.shape[1:]))
    drawn = normal @ (axes * np.sqrt(powers.clip(0))[:, None]).transpose(0, 2, 1)
    quantiles = (np.argsort(np.argsort(drawn[:, :, -1], axis=None)) + 0.5) / drawn[:, :, -1].size
    placed = np.interp(quantiles * len(known) - 0.5, np.arange(len(known)), known)
    drawn[:, :, -1] = finals.mean() + spread.mean() * placed.reshape(count, -1)
    return drawn.astype(np.float32)


def _correlations(values: np.ndarray) -> np.ndarray:
    """float [P, k+1, k+1]: each prompt's correlation of looks and final reward, drawn towards the mean of all.

    From Spearman's ρ as 2 sin(πρ/6) (Kruskal, JASA 1958). Their variance over prompts is reduced by (1−ρ²)²/(C−1), that
    of ρ from C candidates, so that they differ as much as the prompts do, not as much as their estimates.
    """
    pool = values.shape[1]
    places = ranks(values.transpose(0, 2, 1)) - (pool - 1) / 2
    spearman = places @ places.transpose(0, 2, 1) / max(1, (places[0, 0] ** 2).sum())
    mean = spearman.mean(axis=0)
    apart, chance = spearman - mean, (1 - mean**2) ** 2 / max(1, pool - 1)
    share = max(0, 1 - chance.sum() / max(1e-9, (apart**2).mean(axis=0).sum()))
    return 2 * np.sin(np.pi / 6 * (mean + share**0.5 * apart))
