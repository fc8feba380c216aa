"""`ttsnap score`: read every Tweedie image of a shard with one reward, or judge it with the checker."""

import argparse

from ttsnap.commands.options import add_device, pick_device
from ttsnap.commands.reward_options import add_reward, open_reward
from ttsnap.errors import BadInput


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("images", help="image shard (HDF5)")
    parser.add_argument("--out", required=True, help="score file (HDF5)")
    parser.add_argument(
        "--checkpoint",
        action="append",
        default=[],
        help="level checkpoint: its step is read with it; repeatable. None: the base reward at every step",
    )
    add_reward(parser)
    parser.add_argument("--name", help="what the reward is called; its kind if not given")
    parser.add_argument("--batch-size", type=int, default=64, help="images at once")
    add_device(parser)


def run(args: argparse.Namespace) -> dict:
    """Score the shard; return the mean reward of each step."""
    from ttsnap.rewards.levels import read_about

    levels = {}
    for path in args.checkpoint:
        levels[read_about(path)["level"]] = path
    return score(args, levels or None, None)


def score(args: argparse.Namespace, levels: dict[int, str] | None, only: int | None) -> dict:
    """Score one shard with the base reward (at step `only`, or everywhere) or with each level's weights."""
    import numpy as np
    from tqdm import tqdm

    from ttsnap.rewards.groups import Groups, predict
    from ttsnap.rewards.levels import load_level
    from ttsnap.scores import Scores, write_scores
    from ttsnap.tweedie import read_shard

    device = pick_device(args)
    shard = read_shard(args.images)
    if args.kind.startswith("checker:"):
        if levels:
            raise BadInput("--checkpoint: the checker has no levels")
        read, about = _checker(args.kind.removeprefix("checker:"))
    else:
        reward = open_reward(args, device)
        about = {"reward": args.name or args.kind, "version": reward.version}
        about["reward_tflop"] = _reward_tflop(reward)

        def read(images, prompts):
            targets = np.zeros(images.shape[:2], np.float32)
            return predict(
                reward, Groups(prompts, lambda p: images[p], targets), device, args.batch_size
            )

    steps = sorted(levels) if levels else [shard.steps[-1]] if only == -1 else shard.steps
    values, used = [], {}
    for step in tqdm(steps, desc="score", unit="step", mininterval=5):
        if levels:
            kept = load_level(reward, levels[step])
            used[step] = kept["version"]
        values.append(read(shard.images(step), shard.prompts))
    if levels:
        about["levels"] = used
    about["images"] = shard.attributes
    scores = Scores(np.stack(values, axis=2), steps, shard.prompts, about)
    write_scores(args.out, scores)
    return {"steps": steps, "mean": scores.values.mean((0, 1)).tolist()}


def _checker(name: str):
    """A reader that says 1 where the checker accepts an image and 0 elsewhere."""
    import numpy as np

    from ttsnap.shapes.checker import check

    if name != "shapes":
        raise BadInput(f"checker {name!r} is unknown; there is: shapes")

    def read(images, prompts):
        repeated = [p for p in prompts for _ in range(images.shape[1])]
        return (
            check(images.reshape(-1, *images.shape[2:]), repeated)[0]
            .reshape(images.shape[:2])
            .astype(np.float32)
        )

    return read, {"reward": "checker", "version": name}


def _reward_tflop(reward) -> float:
    """TFLOP of reading one image, its prompt's encoding included."""
    import torch

    from ttsnap.cost import count_flop

    size = reward.image_size
    device = next(reward.parameters()).device
    return count_flop(reward, torch.zeros(1, 3, size, size, device=device), ["a"]) / 1e12
