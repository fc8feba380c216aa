"""Schedules in files: the JSON that `ttsnap fit-schedule` writes."""

from ttsnap.errors import BadInput, reads
from ttsnap.pruning.schedule import Schedule
from ttsnap.storage.files import read_json


@reads("a schedule", "give one that fit-schedule wrote")
def read_schedule(path: str, num_steps: int) -> Schedule:
    """The schedule of a JSON file, such as fit-schedule writes: key `schedule: {steps, keep}`.

    Raises BadInput for another file, and for a schedule that does not suit a loop of `num_steps` steps or was fitted
    for another number of steps.
    """
    content = read_json(path)
    try:
        schedule = content["schedule"]
        looks, keep = map(_whole, schedule["steps"]), map(float, schedule["keep"])
        found = Schedule(tuple(looks), tuple(keep))
        fitted = content.get("settings", {}).get("num_steps", num_steps)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise BadInput(
            f"{path}: no schedule in it; it needs a key schedule with steps and keep, as fit-schedule writes"
        ) from None
    if fitted != num_steps:
        raise BadInput(f"{path}: fitted for {fitted} steps, here there are {num_steps}; fit it again")
    return found.check(num_steps, path)


def _whole(step: object) -> int:
    if isinstance(step, bool) or int(step) != step:
        raise ValueError
    return int(step)
