"""Where a reward's class lives, without importing it."""

from ttsnap.errors import BadInput

# kind → class; "package.module:Class" works in a config too, for a reward of one's own.
KINDS = {
    "clip": "ttsnap.rewards.clip:ClipScore",
    "aesthetic": "ttsnap.rewards.clip:Aesthetic",
    "hybrid": "ttsnap.rewards.clip:Hybrid",
    "pickscore": "ttsnap.rewards.clip:PickScore",
    "imagereward": "ttsnap.rewards.imagereward:ImageReward",
    "hpsv2": "ttsnap.rewards.hps:HPSv2",
}


def reward_target(kind: str) -> tuple[str, str]:
    """Module and class name of a reward kind. Raises BadInput for a kind that is neither known nor a path."""
    module, colon, name = KINDS.get(kind, kind).partition(":")
    if not (colon and module and name):
        known = ", ".join(KINDS)
        raise BadInput(
            f"reward kind {kind!r} is unknown: use one of {known}, or your class as package.module:Class"
        )
    return module, name


def reward_module(kind: str) -> str:
    """The module of a reward kind."""
    return reward_target(kind)[0]
