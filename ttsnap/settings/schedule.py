"""A fixed schedule, in the config and in the options of `ttsnap simulate`."""

from typing import Annotated

from pydantic import Field

from ttsnap.pruning.schedule import PUBLISHED, Schedule
from ttsnap.settings.section import Section

Fraction = Annotated[float, Field(gt=0, le=1)]


class ScheduleSettings(Section):
    """The denoising steps to look at, and the fraction of candidates kept at each; by default as published."""

    steps: list[Annotated[int, Field(ge=0, le=1000)]] = Field(
        list(PUBLISHED.looks), description="steps to look at, ascending"
    )
    keep: list[Fraction] = Field(list(PUBLISHED.keep), description="fraction α of the candidates to keep at each step")

    def fixed(self, num_steps: int, where: str) -> Schedule:
        """The schedule; BadInput, beginning with `where`, unless it suits a loop of `num_steps` steps."""
        return Schedule(tuple(self.steps), tuple(self.keep)).check(num_steps, where)
