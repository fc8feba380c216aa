"""Schedule files: the JSON that `ttsnap fit-schedule` writes."""

from ttsnap.errors import BadInput, reads
from ttsnap.pruning.schedule import Schedule
from ttsnap.storage.files import read_json


@reads("a schedule", "give one that fit-schedule wrote")
def read_schedule(path: str, num_steps: int) -> Schedule:
    """The schedule of a JSON file with the key `schedule: {steps, keep}`, such as fit-schedule writes.

    Raises BadInput for another file, and for a schedule that was not fitted for, or does not suit, `num_steps` steps.
    """
    content = read_json(path)
    try:
        found = Schedule(
            tuple(map(_whole, content["schedule"]["steps"])), tuple(map(float, content["schedule"]["keep"]))
        )
        fitted = content.get("settings", {}).get("num_steps", num_steps)
    except (KeyError, TypeError, ValueError, AttributeError):
        needs = "a key schedule with steps and keep, as fit-schedule writes"
        raise BadInput(f"{path}: no schedule in it; it needs {needs}") from None
    if fitted != num_steps:
        raise BadInput(f"{path}: fitted for {fitted} steps, here there are {num_steps}; fit it again")
    return found.check(num_steps, path)


def _whole(step: object) -> int:
    if isinstance(step, bool) or int(step) != step:
        raise ValueError
    return int(step)
