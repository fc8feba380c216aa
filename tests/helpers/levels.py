"""Level checkpoints and training files of a reward, written as the commands would have written them."""

import numpy as np

from ttsnap.storage.image_shards import read_shard, write_shard
from ttsnap.storage.scores import Scores, write_scores


def level_about(reward, level: int, lora: dict | None = None, **images) -> dict:
    """The record in a checkpoint of `reward`; images: what made those that it was trained on."""
    made_from = {"reward": reward.made_from, "images": images}
    return {"level": level, "lora": lora, "version": f"v{level}", **made_from}


def write_training(folder, name: str, groups, reward, step: int = 3) -> None:
    """The image shard and the label file of `groups`, of one step."""
    images = np.stack([groups.images(p) for p in range(len(groups.prompts))])[:, :, None]
    write_shard(folder / f"{name}.h5", groups.prompts, [step], iter(images), {})
    labels = {"kind": "base", "made_from": reward.made_from}
    shard, targets = read_shard(folder / f"{name}.h5"), groups.targets[:, :, None]
    scores = Scores.from_shard(shard, targets, [step], labels)
    write_scores(folder / f"{name}.labels.h5", scores)
