"""The prompt files of the default run and of the reference run.

`python -m recipe.prompt_sets` writes the default's again, `python -m recipe.prompt_sets reference` those of the
reference run (`recipe/reference.yaml`) below results/reference.
"""

import sys
from pathlib import Path

import numpy as np

from ttsnap.shapes.captions import random_caption
from ttsnap.storage.files import write_text

# file: (part, objects, prompts, seed), in this order. The default takes the first of `train`, `validation` and `test`
# for what it makes itself; its figures are of REFERENCE_SETS.
SETS = {
    "train": ("train", 3, 480, 0),
    "validation": ("held_out", 3, 64, 1),
    "development": ("held_out", 3, 96, 2),
    "one_object": ("any", 1, 18, 3),
    "two_objects": ("held_out", 2, 96, 4),
    "test": ("held_out", 3, 96, 20261122),
}

# Levels are chosen by the results on `validation`; nothing is chosen by those on `test`.
REFERENCE_SETS = {
    "train": ("train", 3, 2560, 5),
    "validation": ("held_out", 3, 48, 6),
    "test": ("held_out", 3, 104, 20261127),
}


def prompt_sets(reference: bool = False) -> dict[str, list[str]]:
    """Name → distinct captions of the default or of the reference run; no caption is in two sets of either run."""
    if not reference:
        return _drawn(SETS, {})
    return _drawn(REFERENCE_SETS, prompt_sets())


def _drawn(wanted: dict, others: dict[str, list[str]]) -> dict[str, list[str]]:
    taken = {text for prompts in others.values() for text in prompts}
    sets: dict[str, list[str]] = {}
    for name, (part, objects, count, seed) in wanted.items():
        rng = np.random.default_rng(seed)
        sets[name] = []
        while len(sets[name]) < count:
            text = random_caption(rng, objects, part).text()
            if text not in taken:
                taken.add(text)
                sets[name].append(text)
    return sets


if __name__ == "__main__":
    reference = sys.argv[1:] == ["reference"]
    folder = Path("results/reference/prompts" if reference else "workflow/prompts")
    for name, prompts in prompt_sets(reference).items():
        write_text(folder / f"{name}.txt", "\n".join(prompts) + "\n")
