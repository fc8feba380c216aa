"""Images whose target an untrained reward does not know, and settings to learn it by."""

from dataclasses import replace

import numpy as np

from ttsnap.rewards.groups import Groups
from ttsnap.settings.finetune import FinetuneLevel

PROMPTS = ["a red circle", "a blue square", "an orange triangle", "a green circle"]


def data(seed: int = 0, candidates: int = 4) -> Groups:
    """Images whose target is their brightness, which an untrained reward does not know."""
    rng = np.random.default_rng(seed)
    shape = (len(PROMPTS), candidates, 1, 1, 1)
    images = np.clip(rng.uniform(0, 255, shape) + rng.normal(0, 20, (*shape[:2], 64, 64, 3)), 0, 255)
    images = images.astype(np.uint8)
    targets = images.mean((2, 3, 4)).astype(np.float32) / 64
    return Groups(PROMPTS, images.__getitem__, targets)


def settings(**changes) -> dict:
    return FinetuneLevel(**{"lr": 1e-3, "batch_size": 8, "epochs": 6, "standardise": "prompt", **changes}).model_dump()


def held_out(**options) -> Groups:
    """Other prompts than `data`'s."""
    groups = data(1, **options)
    return replace(groups, prompts=[f"{prompt}, once more" for prompt in groups.prompts])
