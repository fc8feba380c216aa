"""The prompt files of the default run: `python -m recipe.prompt_sets` writes them again."""

from pathlib import Path

import numpy as np

from ttsnap.shapes.captions import random_caption
from ttsnap.storage.files import write_text

# file: (part, objects, prompts, seed), in this order. The default's settings were chosen by what came out on
# `development`, before `test` was drawn; after its first run only the budgets of the real search changed.
SETS = {
    "train": ("train", 3, 480, 0),
    "validation": ("held_out", 3, 64, 1),
    "development": ("held_out", 3, 96, 2),
    "one_object": ("any", 1, 18, 3),
    "two_objects": ("held_out", 2, 96, 4),
    "test": ("held_out", 3, 96, 20261122),
}


def prompt_sets() -> dict[str, list[str]]:
    """Name → distinct captions; no caption stands in two of the sets."""
    seen: set[str] = set()
    sets = {}
    for name, (part, objects, count, seed) in SETS.items():
        rng = np.random.default_rng(seed)
        sets[name] = []
        while len(sets[name]) < count:
            text = random_caption(rng, objects, part).text()
            if text not in seen and text not in sets[name]:
                sets[name].append(text)
        seen |= set(sets[name])
    return sets


if __name__ == "__main__":
    for name, prompts in prompt_sets().items():
        write_text(Path("workflow/prompts") / f"{name}.txt", "\n".join(prompts) + "\n")
