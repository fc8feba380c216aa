"""The prompt files of the default run: `python -m recipe.prompt_sets` writes them again."""

from pathlib import Path

import numpy as np

from ttsnap.shapes.captions import random_caption
from ttsnap.storage.files import write_text

# file: (part, objects, prompts, seed), in this order. The default settings were chosen by the results on
# `development`, before `test` was drawn; after the first run on `test` only the budgets of the real search changed.
SETS = {
    "train": ("train", 3, 480, 0),
    "validation": ("held_out", 3, 64, 1),
    "development": ("held_out", 3, 96, 2),
    "one_object": ("any", 1, 18, 3),
    "two_objects": ("held_out", 2, 96, 4),
    "test": ("held_out", 3, 96, 20261122),
}


def prompt_sets() -> dict[str, list[str]]:
    """Name → distinct captions; no caption is in two of the sets."""
    sets: dict[str, list[str]] = {}
    for name, (part, objects, count, seed) in SETS.items():
        rng = np.random.default_rng(seed)
        sets[name] = []
        while len(sets[name]) < count:
            text = random_caption(rng, objects, part).text()
            if not any(text in prompts for prompts in sets.values()):
                sets[name].append(text)
    return sets


if __name__ == "__main__":
    for name, prompts in prompt_sets().items():
        write_text(Path("workflow/prompts") / f"{name}.txt", "\n".join(prompts) + "\n")
