"""The rewards and checkers that ship with ttsnap, by the names a config or an option gives them."""

from typing import Literal

# kind → class; "package.module:Class" works in a config too, for a reward of your own.
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
