"""Scoring the images of a shard with one reward: as published, or with the finetuned weights of each level."""

from collections.abc import Mapping, Sequence

import numpy as np
from tqdm import tqdm

from ttsnap.pruning.schedule import Look
from ttsnap.rewards.base import Reward, reward_tflop
from ttsnap.rewards.groups import Groups, predict
from ttsnap.rewards.levels import by_level, load_level
from ttsnap.storage.checkpoints import check_noise_levels
from ttsnap.storage.image_shards import Shard
from ttsnap.storage.scores import Scores


def levels_for(shard: Shard, checkpoints: Sequence[str]) -> dict[Look, str]:
    """{level: checkpoint} for a shard's images.

    Raises BadInput for two checkpoints of one level, and for one finetuned for other noise levels than the shard's.
    """
    levels = by_level(checkpoints)
    for path in levels.values():
        check_noise_levels(path, shard.path, shard.attributes)
    return levels


def score_shard(
    reward: Reward,
    shard: Shard,
    looks: Sequence[Look] | None = None,
    levels: Mapping[Look, str] | None = None,
    *,
    name: str,
    batch_size: int = 64,
) -> Scores:
    """The rewards of a shard's images at some looks, by default all.

    levels: {look: level checkpoint}; then these looks are scored, each with its weights, loaded into `reward`.
    name: of the reward. batch_size: images at once. Raises BadInput for checkpoints of another reward.
    """
    about = {
        "kind": "noise_aware" if levels else "base",
        "reward": name,
        "made_from": reward.made_from,
        "raw": list(reward.raw),
        "units": reward.units.to_json(),
        "reward_tflop": reward_tflop(reward),
    }
    looks = list(shard.looks if looks is None else looks)
    if levels:
        looks = [look for look in shard.looks if look in levels] + [look for look in levels if look not in shard.looks]
    device = next(reward.parameters()).device
    no_targets = np.zeros((len(shard.prompts), shard.candidates), np.float32)
    values, versions = [], {}
    for look in tqdm(looks, desc="score", unit="look", mininterval=5):
        if levels:
            versions[look] = load_level(reward, levels[look])["version"]
        images = Groups(shard.prompts, shard.images(look).__getitem__, no_targets)
        values.append(predict(reward, images, device, batch_size))
    return Scores.from_shard(shard, np.stack(values, axis=2), looks, about | {"levels": versions})
