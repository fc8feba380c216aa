"""The cost of a search, and how many candidates a budget pays for."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from ttsnap.errors import BadInput
from ttsnap.pruning.schedule import BEST_OF_N, Schedule

Accounting = Literal["exact", "published", "whole", "realised"]
ACCOUNTINGS = get_args(Accounting)
MOST_COUNTED = 10**9  # more than any pool, and exact as a float


@dataclass(frozen=True)
class Costs:
    """The costs of one candidate: `denoise` per evaluation and `look`, in TFLOP (or another unit, such as seconds).

    accounting  "exact": every denoiser evaluation is charged, and a fraction of a candidate costs that fraction;
                "whole" (formerly "realised"): each look keeps a whole number of survivors, as a real search does,
                and no more candidates start than stay within the budget;
                "published": s_0 = 0, which leaves out one evaluation per candidate of a schedule; only to reproduce
                the published figures
    """

    denoise: float
    look: float
    num_steps: int
    accounting: str = "exact"

    def __post_init__(self):
        for name in ("denoise", "look"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value >= 0):
                raise BadInput(f"{name} cost: {value} is not a cost; give a number of TFLOP ≥ 0")
        if self.denoise + self.look == 0:
            raise BadInput("denoise cost and look cost: both are 0; one must be positive")
        if self.accounting not in ACCOUNTINGS:
            raise BadInput(f"accounting: {self.accounting!r} is not one of {', '.join(ACCOUNTINGS)}")

    @property
    def whole_survivors(self) -> bool:
        """Whether whole survivors have to stay within the budget."""
        return self.accounting in ("whole", "realised")

    def best_of_n(self) -> float:
        """Per candidate: S·d + v."""
        return self.num_steps * self.denoise + self.look

    def schedule(self, schedule: Schedule) -> float:
        """Per candidate: Σ_j a_j((s_j − s_{j−1})d + v) + a_{k+1}((S−1−s_k)d + v).

        `ttsp_cost` of TTSnap's code (arXiv 2511.22242, `simulation/ttsnap_sim.py`), except for s_0.
        """
        return float(self._stretches(schedule) @ np.cumprod([1.0, *schedule.keep]))

    def spent(self, candidates: int | np.ndarray, schedule: Schedule) -> np.ndarray:
        """The cost of starting `candidates`, when each look keeps a whole number of them."""
        alive = [np.asarray(candidates, float)]
        for fraction in schedule.keep:
            alive.append(np.maximum(1, np.rint(alive[-1] * fraction)))
        return (alive[0] > 0) * sum(a * c for a, c in zip(alive, self._stretches(schedule), strict=True))

    def within(self, budget: float | np.ndarray, schedule: Schedule = BEST_OF_N) -> np.ndarray:
        """How many candidates the budget pays for, at most MOST_COUNTED: int, in the shape of `budget`."""
        count = np.floor(np.asarray(budget, float) / self.schedule(schedule))
        count = np.minimum(count, MOST_COUNTED).astype(int)
        while self.whole_survivors and (over := self.spent(count, schedule) > budget).any():
            count = count - over
        return count

    def _stretches(self, schedule: Schedule) -> np.ndarray:
        start = 0 if self.accounting == "published" and schedule.looks else -1
        return np.diff([start, *schedule.looks, self.num_steps - 1]) * self.denoise + self.look
