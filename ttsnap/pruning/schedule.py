"""The pruning schedule: when to look, and what fraction of the candidates to keep (TTSnap, arXiv 2511.22242)."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from ttsnap.errors import BadInput, did_you_mean

# Methods of a real search, in the order of display
REAL_METHODS = ("best_of_n", "ttsp", "ttsnap")

Look = int | str  # a step, whose Tweedie image is looked at, or the name of a draft


def as_look(value: object) -> object:
    """ "7" → 7, "few" → "few"; anything else as it is."""
    return int(value) if isinstance(value, str) and value.strip().isdecimal() else value


def look_name(look: Look) -> str:
    """How messages and reports call a look: "step 7", "draft few"."""
    return f"draft {look}" if isinstance(look, str) else f"step {look}"


def look_names(looks: Collection[Look]) -> str:
    """How messages and reports call some looks: "draft few and steps 4, 7"."""
    drafts, steps = ([str(look) for look in looks if isinstance(look, kind)] for kind in (str, int))
    parts = [
        f"{word}{'s' if len(part) > 1 else ''} {', '.join(part)}"
        for word, part in (("draft", drafts), ("step", steps))
        if part
    ]
    return " and ".join(parts)


@dataclass(frozen=True)
class Schedule:
    """Looks l_1, …, l_k keep the fractions α_1 … α_k of the candidates; none is best-of-N.

    looks: names of drafts first, then denoising steps s_1 < … < s_j.
    """

    looks: tuple[Look, ...] = ()
    keep: tuple[float, ...] = ()

    @property
    def drafts(self) -> tuple[str, ...]:
        """The drafts among the looks, in order."""
        return tuple(look for look in self.looks if isinstance(look, str))

    @property
    def steps(self) -> tuple[int, ...]:
        """The steps among the looks, ascending."""
        return tuple(look for look in self.looks if not isinstance(look, str))

    def check(self, num_steps: int, where: str = "schedule", drafts: Collection[str] = ()) -> "Schedule":
        """Return self; raise BadInput if it does not fit a loop of `num_steps` steps and the drafts there are."""
        for name in self.drafts:
            if name not in drafts:
                there = f"there are {', '.join(drafts)}" if drafts else "there is none"
                raise BadInput(f"{where}: {name!r} is neither a step nor a draft; {there}{did_you_mean(name, drafts)}")
            if self.looks.count(name) > 1:
                raise BadInput(f"{where}: looks at draft {name} twice; give each once")
        if len(self.looks) != len(self.keep):
            raise BadInput(
                f"{where}: {len(self.looks)} looks but {len(self.keep)} keep fractions; give one fraction for each look"
            )
        if self.looks != (*self.drafts, *self.steps):
            first = next(look for look in self.looks if not isinstance(look, str))
            raise BadInput(f"{where}: step {first} stands before a draft; drafts come before all steps")
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
        """{"looks", "keep"}, or {"steps", "keep"} where all looks are steps: the form in files; see `from_json`."""
        return {"looks" if self.drafts else "steps": list(self.looks), "keep": list(self.keep)}

    @classmethod
    def from_json(cls, values: Mapping) -> "Schedule":
        """The inverse of `as_json`."""
        return cls(tuple(values["looks"] if "looks" in values else values["steps"]), tuple(values["keep"]))


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
