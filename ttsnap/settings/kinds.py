"""The rewards that ship with ttsnap."""

# kind → class; "package.module:Class" works in a config too, for a reward of one's own.
KINDS = {
    "clip": "ttsnap.rewards.clip:ClipScore",
    "aesthetic": "ttsnap.rewards.clip:Aesthetic",
    "hybrid": "ttsnap.rewards.clip:Hybrid",
    "pickscore": "ttsnap.rewards.clip:PickScore",
    "imagereward": "ttsnap.rewards.imagereward:ImageReward",
    "hpsv2": "ttsnap.rewards.hps:HPSv2",
}
