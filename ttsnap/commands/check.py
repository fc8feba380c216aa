"""`ttsnap check`: the objective verdict of a checker on every Tweedie image of a shard."""

import argparse
import importlib

from ttsnap.commands.options import in_file, out_file

CHECKERS = {
    "shapes": "ttsnap.shapes.checker"
}  # name → module with check(images, prompts) → accepted, fidelity


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("images", type=in_file, help="image shard (HDF5)")
    parser.add_argument("--checker", default="shapes", choices=CHECKERS, help="who judges")
    parser.add_argument(
        "--out", type=out_file, required=True, help="score file (HDF5): 1 accepted, 0 refused"
    )


def run(args: argparse.Namespace) -> dict:
    """Judge the shard; return the acceptance of each step."""
    import numpy as np

    from ttsnap.storage.image_shards import read_shard
    from ttsnap.storage.scores import Scores, write_scores

    judge = importlib.import_module(CHECKERS[args.checker])
    shard = read_shard(args.images)
    prompts = [p for p in shard.prompts for _ in range(shard.candidates)]
    verdicts = []
    for step in shard.steps:
        images = shard.images(step)
        accepted, _ = judge.check(images.reshape(-1, *images.shape[2:]), prompts)
        verdicts.append(accepted.reshape(images.shape[:2]))
    values = np.stack(verdicts, axis=2).astype(np.float32)
    about = {"kind": "checker", "reward": "checker", "version": args.checker}
    write_scores(args.out, Scores.of_shard(shard, values, shard.steps, about))
    return {"steps": shard.steps, "accepted": values.mean((0, 1)).tolist()}
