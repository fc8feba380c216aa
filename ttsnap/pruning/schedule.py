"""The pruning schedule: where to look, and what fraction of the candidates to keep (TTSnap, arXiv 2511.22242)."""

from dataclasses import dataclass

from ttsnap.errors import BadInput

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


def survivors(candidates: int, keep: tuple[float, ...]) -> list[int]:
    """How many are left after each look: max(1, round(n·α_j)), halves to even (DESIGN §3)."""
    left = []
    for fraction in keep:
        candidates = max(1, round(candidates * fraction))
        left.append(candidates)
    return left
