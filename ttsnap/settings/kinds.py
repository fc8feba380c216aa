"""The rewards and checkers that ship with ttsnap, by the names used in configs and options."""

from typing import Literal

# kind → class; a config may also give "package.module:Class".
KINDS = {
    "clip": "ttsnap.rewards.clip:ClipScore",
    "aesthetic": "ttsnap.rewards.clip:Aesthetic",
    "hybrid": "ttsnap.rewards.clip:Hybrid",
    "pickscore": "ttsnap.rewards.clip:PickScore",
    "imagereward": "ttsnap.rewards.imagereward:ImageReward",
    "hpsv2": "ttsnap.rewards.hps:HPSv2",
}
CHECKERS = {  # name → module with check(images, prompts) → accepted, fidelity
    "shapes": "ttsnap.shapes.checker"
}
Checker = Literal[tuple(CHECKERS)]
