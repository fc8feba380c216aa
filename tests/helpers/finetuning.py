"""Images whose target an untrained reward does not know, and the settings and command to learn it."""

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


def finetune_words(clip: str, folder, out, **options) -> list[str]:
    """A command line on the files of `write_training` in a folder; `out` is without suffix."""
    words = ["finetune", "--level", "3", "--kind", "pickscore", "--option", f"path={clip}", "--device", "cpu"]
    for part in ("train", "validation"):
        words += [f"--{part}-images", f"{folder}/{part}.h5", f"--{part}-labels", f"{folder}/{part}.labels.h5"]
    for name, value in options.items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    return [*words, "--standardise", "prompt", "--out", f"{out}.safetensors", "--json", f"{out}.json"]


def held_out(**options) -> Groups:
    """`data` with other prompts."""
    groups = data(1, **options)
    return replace(groups, prompts=[f"{prompt}, once more" for prompt in groups.prompts])
