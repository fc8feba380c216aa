"""A schedule that a person gives: a part of the config, and options of `ttsnap simulate`."""

from typing import Annotated

from pydantic import Field

from ttsnap.pruning.schedule import PUBLISHED, Schedule
from ttsnap.settings.section import Section

Fraction = Annotated[float, Field(gt=0, le=1)]


class ScheduleSettings(Section):
    """Denoising steps to look at, and the fraction of the candidates that each look keeps; by default as published."""

    steps: list[Annotated[int, Field(ge=0, le=1000)]] = Field(
        list(PUBLISHED.looks), description="steps to look at, ascending"
    )
    keep: list[Fraction] = Field(list(PUBLISHED.keep), description="fraction α of the candidates to keep at each")

    def fixed(self, num_steps: int, where: str) -> Schedule:
        """The schedule, or BadInput that begins with `where` if it does not suit a loop of `num_steps` steps."""
        return Schedule(tuple(self.steps), tuple(self.keep)).check(num_steps, where)
