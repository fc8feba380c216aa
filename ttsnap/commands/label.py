"""`ttsnap label`: the finetuning targets of a shard, the base reward of every final image (DESIGN §3)."""

import argparse

from ttsnap.commands import score
from ttsnap.commands.device_options import add_device
from ttsnap.commands.options import count, in_file, out_file
from ttsnap.commands.reward_options import add_reward


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("images", type=in_file, help="image shard (HDF5)")
    parser.add_argument(
        "--out", type=out_file, required=True, help="score file (HDF5) of the final step alone"
    )
    add_reward(parser)
    parser.add_argument("--batch-size", type=count, default=64, help="images at once")
    add_device(parser)


def run(args: argparse.Namespace) -> dict:
    """Score the final images; return their mean reward."""
    score.check(args)
    return score.score(args, levels={}, final_only=True)
