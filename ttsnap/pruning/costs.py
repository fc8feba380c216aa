"""What a search costs, and how many candidates a budget pays for."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from ttsnap.errors import BadInput
from ttsnap.pruning.schedule import BEST_OF_N, Schedule

Accounting = Literal["exact", "published", "whole", "realised"]
ACCOUNTINGS = get_args(Accounting)
MOST_COUNTED = 10**9  # beyond any pool, and exact as a float


@dataclass(frozen=True)
class Costs:
    """What one candidate costs: `denoise` and `look` in TFLOP (or any one unit, seconds too).

    accounting  "exact": every denoiser evaluation is charged, and a fraction of a candidate costs that fraction;
                "whole": as exact, but each look keeps a whole number of survivors, as a real search does, and fewer
                candidates start wherever these would cost more than the budget, which is never exceeded
                ("realised" is the older name of the same);
                "published": s_0 = 0, which leaves out one evaluation per candidate of a schedule; to reproduce
                published figures only
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
        """Whether candidates are counted so that whole survivors stay within the budget."""
        return self.accounting in ("whole", "realised")

    def best_of_n(self) -> float:
        """Per candidate: S·d + v."""
        return self.num_steps * self.denoise + self.look

    def schedule(self, schedule: Schedule) -> float:
        """Per candidate: Σ_j a_j((s_j − s_{j−1})d + v) + a_{k+1}((S−1−s_k)d + v).

        As `ttsp_cost` of TTSnap's code (arXiv 2511.22242, `simulation/ttsnap_sim.py`), but for s_0.
        """
        alive = np.concatenate([[1.0], np.cumprod(schedule.keep)])
        return float(self._stretches(schedule) @ alive)

    def spent(self, candidates: int | np.ndarray, schedule: Schedule) -> np.ndarray:
        """What so many candidates really cost, each look keeping a whole number of them."""
        alive = [np.asarray(candidates, float)]
        for fraction in schedule.keep:
            alive.append(np.maximum(1, np.rint(alive[-1] * fraction)))
        return (alive[0] > 0) * sum(a * c for a, c in zip(alive, self._stretches(schedule), strict=True))

    def within(self, budget: float | np.ndarray, schedule: Schedule = BEST_OF_N) -> np.ndarray:
        """int, the shape of `budget`: how many candidates it pays for, MOST_COUNTED at most."""
        count = np.floor(np.asarray(budget, float) / self.schedule(schedule))
        count = np.minimum(count, MOST_COUNTED).astype(int)
        while self.whole_survivors:
            over = self.spent(count, schedule) > budget
            if not over.any():
                break
            count = count - over
        return count

    def _stretches(self, schedule: Schedule) -> np.ndarray:
        start = 0 if self.accounting == "published" and schedule.looks else -1
        steps = [start, *schedule.looks, self.num_steps - 1]
        return np.diff(steps) * self.denoise + self.look
