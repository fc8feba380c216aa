"""The cost of a search, and how many candidates a budget pays for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from ttsnap.errors import BadInput
from ttsnap.pruning.schedule import BEST_OF_N, Look, Schedule

Accounting = Literal["exact", "published", "whole", "realised"]
ACCOUNTINGS = get_args(Accounting)
MOST_COUNTED = 10**9  # more than any pool, and exact as a float


@dataclass(frozen=True)
class Costs:
    """The costs of one candidate: `denoise` per evaluation and `look`, in TFLOP (or another unit, such as seconds).

    final       reading the final image, where a look is decoded by a smaller decoder; None: as much as a look
    drafts      {name: k·d', the evaluations that a draft takes}, without its look
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
    final: float | None = None
    drafts: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self):
        named = {"denoise": self.denoise, "look": self.look, "final": self.final_look}
        for name, value in [*named.items(), *((f"draft {name}", cost) for name, cost in self.drafts.items())]:
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

    @property
    def final_look(self) -> float:
        """The cost of reading the final image."""
        return self.look if self.final is None else self.final

    def best_of_n(self) -> float:
        """Per candidate: S·d + v."""
        return self.num_steps * self.denoise + self.final_look

    def schedule(self, schedule: Schedule) -> float:
        """Per candidate: Σ_j a_j((s_j − s_{j−1})d + v) + a_{k+1}((S−1−s_k)d + v), and k·d' + v for each draft.

        `ttsp_cost` of TTSnap's code (arXiv 2511.22242, `simulation/ttsnap_sim.py`), except for s_0 and drafts, whose
        compute a full run does not use: its first step starts from s_0 all the same.
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

    def look_at(self, look: Look) -> float:
        """The cost of looking at a candidate for the first time, at a draft or after the steps up to this one."""
        return float(self._stretches(Schedule((look,), (1.0,)))[0])

    def _stretches(self, schedule: Schedule) -> np.ndarray:
        """What each candidate costs from one look to the next, [looks + 1]."""
        if unknown := set(schedule.drafts) - set(self.drafts):
            raise BadInput(f"draft {min(unknown)}: its cost is not known; known are {list(self.drafts)}")
        start = 0 if self.accounting == "published" and schedule.looks else -1
        steps = np.diff([start, *schedule.steps, self.num_steps - 1]) * self.denoise + self.look
        steps[-1] += self.final_look - self.look
        return np.concatenate([[self.drafts[name] + self.look for name in schedule.drafts], steps])
