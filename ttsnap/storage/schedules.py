"""Schedule files: the JSON that `ttsnap fit-schedule` writes."""

from collections.abc import Collection

from ttsnap.errors import BadInput, reads
from ttsnap.pruning.schedule import Look, Schedule
from ttsnap.storage.files import read_json


@reads("a schedule", "give one that fit-schedule wrote")
def read_schedule(path: str, num_steps: int, drafts: Collection[str] = ()) -> Schedule:
    """The schedule of a JSON file with the key `schedule: {looks, keep}`, such as fit-schedule writes.

    Raises BadInput for another file, and for a schedule that was not fitted for, or does not suit, `num_steps` steps
    and these drafts.
    """
    content = read_json(path)
    try:
        found = Schedule.from_json(content["schedule"])
        found = Schedule(tuple(map(_look, found.looks)), tuple(map(float, found.keep)))
        fitted = content.get("settings", {}).get("num_steps", num_steps)
    except (KeyError, TypeError, ValueError, AttributeError):
        needs = "a key schedule with looks and keep, as fit-schedule writes"
        raise BadInput(f"{path}: no schedule in it; it needs {needs}") from None
    if fitted != num_steps:
        raise BadInput(f"{path}: fitted for {fitted} steps, here there are {num_steps}; fit it again")
    return found.check(num_steps, path, drafts)


def _look(look: object) -> Look:
    """The name of a draft, or a whole number."""
    if isinstance(look, str):
        return look
    if isinstance(look, bool) or int(look) != look:
        raise ValueError
    return int(look)
