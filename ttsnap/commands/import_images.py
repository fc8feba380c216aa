"""`ttsnap import-images`: a tree of images p0000/id000/s00.png as one image shard, ready to label or score."""

import argparse
from pathlib import Path

from ttsnap.commands.options import in_file, in_folder, number, out_file, whole
from ttsnap.errors import BadInput


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "tree", type=in_folder, help="folder of p<prompt>/id<candidate>/s<step>.png"
    )
    parser.add_argument("--out", type=out_file, required=True, help="image shard (HDF5)")
    parser.add_argument(
        "--prompts",
        type=in_file,
        metavar="FILE",
        help="prompt file whose entry N is the text of pN (0 is the first); default: prompts.json in the tree",
    )
    parser.add_argument(
        "--num-steps",
        type=whole(1, 1000),
        help="denoising steps; default: the last step found, plus 1",
    )
    parser.add_argument("--model", default="imported", help="what made the images, to note")
    parser.add_argument(
        "--denoise-cost",
        type=number(0),
        metavar="TFLOP",
        help="of one step, to note as denoise_tflop",
    )
    parser.add_argument(
        "--decode-cost",
        type=number(0),
        metavar="TFLOP",
        help="of one image, to note as decode_tflop",
    )


def run(args: argparse.Namespace) -> dict:
    """Read the tree prompt by prompt and write the shard; return its size."""
    from tqdm import tqdm

    from ttsnap.storage.image_shards import write_shard
    from ttsnap.storage.prompts import read_entries
    from ttsnap.storage.tree import PROMPTS, find_tree

    tree = find_tree(args.tree)
    file = args.prompts or Path(args.tree) / PROMPTS
    texts = read_entries(file)
    for prompt in tree.prompts:
        if prompt >= len(texts) or not texts[prompt]:
            raise BadInput(f"{file}: no entry {prompt} in it; the tree has p{prompt:04d}")
    steps = args.num_steps or tree.steps[-1] + 1
    if tree.steps[-1] >= steps:
        raise BadInput(f"--num-steps: {steps}, the tree has step {tree.steps[-1]}")
    prompts = [texts[prompt] for prompt in tree.prompts]
    known = {"denoise_tflop": args.denoise_cost, "decode_tflop": args.decode_cost}
    attributes = {"model": args.model, "source": "imported images", "steps": steps}
    attributes |= {name: value for name, value in known.items() if value is not None}
    rows = map(tree.images, tqdm(tree.prompts, desc="import", unit="prompt"))
    write_shard(args.out, prompts, tree.steps, rows, attributes)
    return {
        "out": args.out,
        "prompts": len(prompts),
        "candidates": len(tree.candidates),
        "kept_steps": tree.steps,
        **attributes,
    }
