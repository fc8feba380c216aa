"""The most that an option counts: what no machine could hold is refused before anything is imported or allocated."""

import argparse
import math

from ttsnap.errors import BadInput
from ttsnap.simulate.costs import MOST_CANDIDATES

MOST = {  # by the option's name, or that of one command's option
    "batch_size": 1_000_000,
    "candidates": MOST_CANDIDATES,
    "channels": 1024,
    "count": 20_000,  # all are drawn at once
    "draws": 100_000,
    "epochs": 1_000_000,
    "evaluations": 1_000_000,
    "first_candidate": 2**48,
    "fresh": 100_000,
    "height": 16_384,
    "limit": 10**12,
    "lora_rank": 10_000,
    "most_looks": 1000,
    "num_steps": 10_000,
    "patch_size": 64,
    "prompts": 1000,
    "samples": 10_000_000,
    "seed": 2**48,
    "size": 16_384,
    ("shard", "size"): 10**12,
    "start_index": 10**12,
    "steps": 10_000,
    "threads": 4096,
    ("train-shapes", "scale"): 100.0,
    "width": 16_384,
}


def check_counts(args: argparse.Namespace) -> None:
    """Raise BadInput, naming the option, for a number that is not finite or more than can be served."""
    for name, value in vars(args).items():
        most = MOST.get((args.command, name), MOST.get(name, math.inf))
        if isinstance(value, int | float) and not (value <= most and abs(value) < math.inf):
            option = (
                args.steps_option if name == "steps" and "steps_option" in args else f"--{name}"
            )
            what = "is no number" if value != value else "is too much"
            words = f"give {most} or less" if most < math.inf else "give a number"
            raise BadInput(f"{option.replace('_', '-')}: {value} {what}; {words}")
