"""`ttsnap export-images`: the images of shards as files, in the published tree p0000/id000/s00.png."""

import argparse
from pathlib import Path

from ttsnap.commands.options import count, in_file, integers, out_folder
from ttsnap.errors import BadInput


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "images",
        type=in_file,
        nargs="+",
        help="image shards (HDF5), in order: prompts are numbered on",
    )
    parser.add_argument(
        "--out", type=out_folder, required=True, metavar="DIR", help="folder of the tree"
    )
    parser.add_argument(
        "--steps", type=integers, help="steps wanted, e.g. 9,19; default: all that are kept"
    )
    parser.add_argument("--limit", type=count, help="only the first so many prompts")


def run(args: argparse.Namespace) -> dict:
    """Write every image, and the prompts as prompts.json; return how much there is."""
    from tqdm import tqdm

    from ttsnap.storage.files import write_json
    from ttsnap.storage.image_shards import read_shards
    from ttsnap.storage.tree import PROMPTS, write_image

    shards = read_shards(args.images)
    steps = sorted(set(args.steps or shards[0].steps))
    for shard in shards:
        if missing := set(steps) - set(shard.steps):
            raise BadInput(
                f"{shard.path}: holds no images of step {min(missing)}, only of {shard.steps}"
            )
    places = [(shard, at) for shard in shards for at in range(len(shard.prompts))][: args.limit]
    for number, (shard, at) in enumerate(tqdm(places, desc="export", unit="prompt")):
        for step in steps:
            for candidate, image in enumerate(shard.images(step, at)):
                write_image(args.out, number, candidate, step, image)
    prompts = [shard.prompts[at] for shard, at in places]
    write_json(Path(args.out) / PROMPTS, prompts)
    return {"out": args.out, "prompts": len(prompts), "steps": steps}
