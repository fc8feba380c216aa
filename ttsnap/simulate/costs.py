"""What a search costs, and how many candidates a budget pays for (DESIGN §3 Cost)."""

from dataclasses import dataclass

import numpy as np

from ttsnap.errors import BadInput

ACCOUNTINGS = ("exact", "published", "realised")
MOST_COUNTED = 10**9  # beyond any pool, and exact as a float
UNITS = ("tflop", "seconds", "candidates")  # of the budget of a real search
# The methods of a real search, in the order they are shown.
REAL_METHODS = ("best_of_n", "ttsp", "ttsnap")


@dataclass(frozen=True)
class Schedule:
    """Look at steps s_1 < … < s_k and keep the fractions α_1 … α_k of the candidates.

    No step at all is best-of-N.
    """

    steps: tuple[int, ...] = ()
    keep: tuple[float, ...] = ()

    def check(self, num_steps: int, where: str = "schedule") -> "Schedule":
        """Return self, or raise `BadInput` if it does not suit a loop of `num_steps` steps."""
        if len(self.steps) != len(self.keep):
            raise BadInput(
                f"{where}: {len(self.steps)} steps but {len(self.keep)} keep fractions; "
                "give one fraction for each step"
            )
        if any(later <= step for step, later in zip(self.steps, self.steps[1:], strict=False)):
            raise BadInput(f"{where}: steps {list(self.steps)} must be in ascending order")
        for step in self.steps:
            if not 0 <= step <= num_steps - 2:
                raise BadInput(
                    f"{where}: step {step} is outside 0..{num_steps - 2} (step {num_steps - 1} "
                    "is the final image, which is always looked at)"
                )
        for fraction in self.keep:
            if not 0 < fraction <= 1:
                raise BadInput(f"{where}: keep fraction {fraction} is outside (0, 1]")
        return self

    def as_json(self) -> dict:
        return {"steps": list(self.steps), "keep": list(self.keep)}


BEST_OF_N = Schedule()


@dataclass(frozen=True)
class Costs:
    """What one candidate costs: `denoise` and `look` in TFLOP (or any one unit, seconds too).

    accounting  "exact" charges every denoiser evaluation, and any fraction of a candidate;
                "published" starts from s_0 = 0 and so leaves out one evaluation per candidate of a
                schedule (to reproduce published figures only);
                "realised" is exact, with fewer candidates wherever keeping a whole number of them
                at each look would cost more than the budget: what a real search can do
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
            raise BadInput(
                f"accounting: {self.accounting!r} is not one of {', '.join(ACCOUNTINGS)}"
            )

    def best_of_n(self) -> float:
        """Per candidate: S·d + v."""
        return self.num_steps * self.denoise + self.look

    def schedule(self, schedule: Schedule) -> float:
        """Per candidate: Σ_j a_j((s_j − s_{j−1})d + v) + a_{k+1}((S−1−s_k)d + v)."""
        alive = np.concatenate([[1.0], np.cumprod(schedule.keep)])
        return float(self._stretches(schedule) @ alive)

    def spent(self, candidates: int | np.ndarray, schedule: Schedule) -> np.ndarray:
        """What so many candidates really cost, each look keeping a whole number of them."""
        alive = [np.asarray(candidates, float)]
        for fraction in schedule.keep:
            alive.append(np.maximum(1, np.rint(alive[-1] * fraction)))
        return (alive[0] > 0) * sum(
            a * c for a, c in zip(alive, self._stretches(schedule), strict=True)
        )

    def within(self, budget: float | np.ndarray, schedule: Schedule = BEST_OF_N) -> np.ndarray:
        """int, the shape of `budget`: how many candidates it pays for, MOST_COUNTED at most."""
        count = np.floor(np.asarray(budget, float) / self.schedule(schedule))
        count = np.minimum(count, MOST_COUNTED).astype(int)
        while self.accounting == "realised":
            over = self.spent(count, schedule) > budget
            if not over.any():
                break
            count = count - over
        return count

    def _stretches(self, schedule: Schedule) -> np.ndarray:
        start = 0 if self.accounting == "published" and schedule.steps else -1
        steps = [start, *schedule.steps, self.num_steps - 1]
        return np.diff(steps) * self.denoise + self.look


def survivors(candidates: int, keep: tuple[float, ...]) -> list[int]:
    """How many are left after each look: max(1, round(n·α_j)), halves to even (DESIGN §3)."""
    left = []
    for fraction in keep:
        candidates = max(1, round(candidates * fraction))
        left.append(candidates)
    return left
