"""What is shipped of the reference run (`recipe/reference.yaml`): its levels, its reward tensors, and their card.

`python -m recipe.reference RESULTS FOLDER` takes them from the results of the run. A level of the default's reward is
shipped if it reads the looks of the validation prompts clearly better than the base reward: the 95 % interval of the
difference of τ is above zero. The second reward's levels are measured alike, but there is no room for them. Then, and
only then, the figures of the test prompts are computed, for the card.
"""

import csv
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import yaml
from safetensors import safe_open

from ttsnap.finetune.alignment import align
from ttsnap.finetune.level import weights_version
from ttsnap.pruning.schedule import Look, look_name
from ttsnap.report import words
from ttsnap.rewards.levels import save_level
from ttsnap.storage.checkpoints import read_about
from ttsnap.storage.files import read_json, write_text
from ttsnap.storage.tensor import RewardTensor, read_tensor, write_tensor

REWARDS, SPLITS = ("pickscore", "aesthetic"), ("validation", "test")
SHIPPED = "pickscore"
LEVELS, TENSORS = "shapes-levels", "shapes-reference"

CARD = """---
license: mit
---
# shapes-levels

Noise-aware levels of the reward shapes-clip (`pickscore`): LoRA adapters as fp16, one file a level, that read the looks
of shapes-sdxl named in the file. Beside them, in `shapes-reference`, the reward tensors of the run that they come from,
by the weights before they were rounded, noise-aware where a level is shipped, for shapes-clip and for shapes-aesthetic
(`aesthetic`): {validation[0]} validation prompts × {validation[1]} candidates, {test[0]} test prompts × {test[1]}.

**Data.** {images} images of training captions with three objects, {candidates} of each; none is held out or in a prompt
set of the default. Validation and test captions are held out; the test captions were drawn by a seed of their own, and
nothing was chosen by what came out on them.

**Recipe.** `recipe/reference.yaml`, an ordinary run of the workflow: LoRA of rank {lora[rank]}, AdamW at {lr:g} falling
linearly to {floor:.0%}, {batch_size} images an update; passes over the images: {passes}; MSE between rewards centred
within the caption; images moved by up to {shift} pixels. Each step's level starts from the cleaner one before it,
drafts from the base weights. Shipped is a level of shapes-clip whose τ on the validation captions is above the base
reward's, the 95 % interval of the paired difference above zero; those of shapes-aesthetic are left out to save room.
Seed 0.

**Time.** {seconds:.0f} s for the levels of both rewards, each on one core of a CPU.

**Measured.** Kendall's τ within a prompt between the reward of a look and the base reward of the final image, and the
paired difference with its 95 % interval over the prompts.

| reward | look | τ, base | τ, noise-aware | difference, test captions | validation captions | shipped |
| --- | --- | --- | --- | --- | --- | --- |
{table}

**Use.** `rewards.pickscore.finetune.start: embedded:shapes-levels/pickscore.{{level}}.safetensors` in the config, or
`ttsnap search … --checkpoint`. Tensors: `reference` in the config, or `ttsnap simulate`. Made again as
`recipe/reference.yaml` says.
"""


def rows(tensor: RewardTensor) -> dict:
    """{look: row of `align`} of the looks with a noise-aware reward."""
    found = align(tensor)
    return {row.get("draft", row.get("step")): row for row in [*found["drafts"], *found["steps"]] if row["noise_aware"]}


def ship(results: Path, models: Path) -> None:
    """Copy the levels that read clearly better, and the tensors, below `models`, and write the card."""
    tensors = {(split, reward): results / f"tensors/{split}.{reward}.h5" for split in SPLITS for reward in REWARDS}
    lines, seconds, kept = [], 0.0, []
    for reward in REWARDS:
        chosen_by, tested = (rows(read_tensor(tensors[split, reward])) for split in SPLITS)
        for level, row in chosen_by.items():
            source = results / f"levels/{reward}/{level}"
            shipped = reward == SHIPPED and words.direction(row["tau_difference"]) == "up"
            if shipped:
                kept.append(level)
                _save_half(source.with_suffix(".safetensors"), models / LEVELS / f"{reward}.{level}.safetensors")
            lines.append(_line(reward, level, tested[level], row["tau_difference"], shipped))
            images = read_json(source.with_suffix(".json"))["images"]
            seconds += _seconds(results, reward, level)
    for (split, reward), path in tensors.items():
        write_tensor(models / TENSORS / f"{split}.{reward}.h5", with_levels(read_tensor(path), kept))
    shapes = {split: read_tensor(tensors[split, REWARDS[0]]).base.shape for split in SPLITS}
    run = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text())
    settings = {reward: run["rewards"][reward]["finetune"] for reward in REWARDS}
    about = {
        "images": images,
        "candidates": run["prompts"]["train"]["candidates"],
        "passes": ", ".join(f"{each['epochs']} for {reward}" for reward, each in settings.items()),
    }
    card = CARD.format(table="\n".join(lines), seconds=seconds, **settings[REWARDS[0]], **about, **shapes)
    write_text(models / LEVELS / "README.md", card)


def with_levels(tensor: RewardTensor, levels: list[Look]) -> RewardTensor:
    """The tensor with noise-aware rewards at these looks alone."""
    noise_aware = np.full_like(tensor.noise_aware, np.nan)
    places = tensor.places(levels)
    noise_aware[:, :, places] = tensor.noise_aware[:, :, places]
    versions = [v for v in tensor.attrs["level_versions"].split(",") if v.split(":")[0] in map(str, levels)]
    return replace(tensor, noise_aware=noise_aware, attrs=tensor.attrs | {"level_versions": ",".join(versions)})


def _save_half(source: Path, target: Path) -> None:
    """Copy a checkpoint with its weights as fp16."""
    with safe_open(source, "pt") as file:
        weights = {name: file.get_tensor(name).half() for name in file.keys()}
    about = read_about(source) | {"version": weights_version({name: half.float() for name, half in weights.items()})}
    target.parent.mkdir(parents=True, exist_ok=True)
    save_level(target, weights, about)


def _line(reward: str, level: Look, test: dict, validation: dict, shipped: bool) -> str:
    """A level's row in the table of the card."""
    taus = [f"{test[kind]['tau']['value']:.3f}" for kind in ("base", "noise_aware")]
    differences = [
        f"{words.number(found['value'], 3, True)} ({words.interval(found, 3, True)})"
        for found in (test["tau_difference"], validation)
    ]
    return "| " + " | ".join([reward, look_name(level), *taus, *differences, "yes" if shipped else "no"]) + " |"


def _seconds(results: Path, reward: str, level: Look) -> float:
    """How long a level's job took."""
    with open(results / f"benchmarks/finetune/{reward}/{level}.tsv", newline="") as file:
        (row,) = csv.DictReader(file, delimiter="\t")
    return float(row["s"])


if __name__ == "__main__":
    ship(*map(Path, sys.argv[1:3]))
