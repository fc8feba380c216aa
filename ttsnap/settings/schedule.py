"""A fixed schedule, in the config and in the options of `ttsnap simulate`."""

from collections.abc import Collection
from typing import Annotated

from pydantic import AliasChoices, Field, model_validator

from ttsnap.pruning.schedule import PUBLISHED, Schedule
from ttsnap.settings.drafts import LookAt
from ttsnap.settings.section import Section

Fraction = Annotated[float, Field(gt=0, le=1)]


class ScheduleSettings(Section):
    """What to look at, and the fraction of candidates kept at each look; by default as published."""

    looks: list[LookAt] = Field(
        list(PUBLISHED.looks),
        validation_alias=AliasChoices("looks", "steps"),
        description="names of drafts, then denoising steps, ascending; steps alone may also be called steps",
    )
    keep: list[Fraction] = Field(list(PUBLISHED.keep), description="fraction α of the candidates to keep at each look")

    @model_validator(mode="before")
    @classmethod
    def _one_name(cls, values):
        if isinstance(values, dict) and values.get("looks") is not None and values.get("steps") is not None:
            raise ValueError("steps: is another name of looks; give one of them")
        return values

    def fixed(self, num_steps: int, where: str, drafts: Collection[str] = ()) -> Schedule:
        """The schedule; BadInput, beginning with `where`, unless it suits `num_steps` steps and these drafts."""
        return Schedule(tuple(self.looks), tuple(self.keep)).check(num_steps, where, drafts)
