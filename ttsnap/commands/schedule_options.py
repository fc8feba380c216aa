"""The options that give a schedule: looks and fractions, or a file."""

from pydantic import Field, field_validator

from ttsnap.commands.options import InFile, _split, refuse_beside
from ttsnap.pruning.schedule import Schedule
from ttsnap.settings.schedule import ScheduleSettings
from ttsnap.storage.schedules import read_schedule


class ForSchedule(ScheduleSettings):
    """The schedule by which candidates are dropped."""

    schedule: InFile | None = Field(
        None, description="JSON of fit-schedule, instead of --steps and --keep"
    )

    _typed = field_validator("looks", "keep", mode="before")(_split)


def given_schedule(options: ForSchedule, num_steps: int) -> Schedule:
    """The schedule that the options give, for a loop of `num_steps` steps."""
    if options.schedule:
        refuse_beside(options, "beside --schedule", "looks", "keep")
        return read_schedule(options.schedule, num_steps)
    return options.fixed(num_steps, "--steps/--keep")
