"""A schedule that a person gives: a part of the config, and options of `ttsnap simulate` and `ttsnap search`."""

from typing import Annotated

from pydantic import Field

from ttsnap.pruning.schedule import PUBLISHED, Schedule
from ttsnap.settings.section import Section

Fraction = Annotated[float, Field(gt=0, le=1)]


class ScheduleSettings(Section):
    """Looks at denoising steps, each of which keeps a fraction of the candidates; by default the published ones."""

    looks: list[Annotated[int, Field(ge=0, le=1000)]] = Field(
        list(PUBLISHED.looks),
        validation_alias="steps",
        description="denoising steps to look at, ascending",
    )
    keep: list[Fraction] = Field(
        list(PUBLISHED.keep), description="fraction of the candidates that each look keeps"
    )

    def fixed(self, num_steps: int, where: str) -> Schedule:
        """The schedule, for a loop of `num_steps` steps. Raises BadInput, beginning with `where`, if it does not suit."""
        return Schedule(tuple(self.looks), tuple(self.keep)).check(num_steps, where)
