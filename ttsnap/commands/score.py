"""`ttsnap score`: read every Tweedie image of a shard with one reward."""

import argparse

from ttsnap.commands.device_options import add_device, pick_device
from ttsnap.commands.options import count, in_file, out_file
from ttsnap.commands.reward_options import add_reward, check_reward, open_reward


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("images", type=in_file, help="image shard (HDF5)")
    parser.add_argument("--out", type=out_file, required=True, help="score file (HDF5)")
    parser.add_argument(
        "--checkpoint",
        type=in_file,
        action="append",
        default=[],
        help="level checkpoint: its step is read with it; repeatable. None: the base reward at every step",
    )
    add_reward(parser)
    parser.add_argument("--batch-size", type=count, default=64, help="images at once")
    add_device(parser)


def run(args: argparse.Namespace) -> dict:
    """Score the shard; return the mean reward of each step."""
    check(args)
    from ttsnap.rewards.levels import by_level

    return score(args, levels=by_level(args.checkpoint))


def check(args: argparse.Namespace) -> None:
    """Refuse a shard or a reward that cannot be, before anything slow is imported."""
    from ttsnap.storage.image_shards import read_shard

    read_shard(args.images)
    check_reward(args)


def score(args: argparse.Namespace, levels: dict[int, str], final_only: bool = False) -> dict:
    """Score one shard with each level's weights, or without levels with the base reward."""
    import numpy as np
    from tqdm import tqdm

    from ttsnap.rewards.base import reward_tflop
    from ttsnap.rewards.groups import Groups, predict
    from ttsnap.rewards.levels import check_noise_levels, load_level
    from ttsnap.storage.image_shards import read_shard
    from ttsnap.storage.scores import Scores, write_scores

    device = pick_device(args)
    shard = read_shard(args.images)
    for path in levels.values():
        check_noise_levels(path, args.images, shard.attributes)
    reward = open_reward(args, device)
    about = {
        "kind": "noise_aware" if levels else "base",
        "reward": args.name or args.kind,
        "made_from": reward.made_from,
        "raw": list(reward.raw),
        "units": reward.units.to_json(),
        "reward_tflop": reward_tflop(reward),
    }
    steps = sorted(levels) or (shard.steps[-1:] if final_only else shard.steps)
    none = np.zeros((len(shard.prompts), shard.candidates), np.float32)
    values, used = [], {}
    for step in tqdm(steps, desc="score", unit="step", mininterval=5):
        if levels:
            used[step] = load_level(reward, levels[step])["version"]
        images = shard.images(step)
        values.append(
            predict(
                reward, Groups(shard.prompts, images.__getitem__, none), device, args.batch_size
            )
        )
    about["levels"] = used
    scores = Scores.of_shard(shard, np.stack(values, axis=2), steps, about)
    write_scores(args.out, scores)
    return {"steps": steps, "mean": scores.values.mean((0, 1)).tolist()}
