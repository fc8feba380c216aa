"""The pruning schedule: when to look, and what fraction of the candidates to keep (TTSnap, arXiv 2511.22242)."""

from collections.abc import Mapping
from dataclasses import dataclass

from ttsnap.errors import BadInput

# Methods of a real search, in the order of display
REAL_METHODS = ("best_of_n", "ttsp", "ttsnap")


@dataclass(frozen=True)
class Schedule:
    """Looks at the denoising steps s_1 < … < s_k keep the fractions α_1 … α_k of the candidates; none is best-of-N."""

    looks: tuple[int, ...] = ()
    keep: tuple[float, ...] = ()

    def check(self, num_steps: int, where: str = "schedule") -> "Schedule":
        """Return self; raise BadInput if it does not fit a loop of `num_steps` steps."""
        if len(self.looks) != len(self.keep):
            raise BadInput(
                f"{where}: {len(self.looks)} steps but {len(self.keep)} keep fractions; give one fraction for each step"
            )
        if any(later <= look for look, later in zip(self.looks, self.looks[1:], strict=False)):
            raise BadInput(f"{where}: steps {list(self.looks)} must be in ascending order")
        for step in self.looks:
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
        """{"steps", "keep"}, the form in files; `from_json` reads it."""
        return {"steps": list(self.looks), "keep": list(self.keep)}

    @classmethod
    def from_json(cls, values: Mapping) -> "Schedule":
        """The inverse of `as_json`."""
        return cls(tuple(values["steps"]), tuple(values["keep"]))


BEST_OF_N = Schedule()
# TTSnap (arXiv 2511.22242), FLUX.1-dev with ImageReward, 20 steps
PUBLISHED = Schedule((2, 6, 11), (0.4, 0.4, 0.5))


def survivors(candidates: int, keep: tuple[float, ...]) -> list[int]:
    """How many are left after each look: max(1, round(n·α_j)), halves rounded to even."""
    left = []
    for fraction in keep:
        candidates = max(1, round(candidates * fraction))
        left.append(candidates)
    return left
