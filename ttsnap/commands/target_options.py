"""The options that name targets."""

import argparse

from ttsnap.commands.options import count, in_file, in_folder, natural, refuse_beside
from ttsnap.errors import BadInput
from ttsnap.settings.sft import SIZES


def add_targets(parser: argparse.ArgumentParser) -> None:
    """--data or --pairs, and which part of it."""
    parser.add_argument("--data", choices=SIZES, help="labelled data set")
    parser.add_argument(
        "--folder",
        type=in_folder,
        help="where the data set's files lie, if not where `ttsnap download` puts them",
    )
    parser.add_argument(
        "--split", default="train", choices=["train", "test"], help="of the data set"
    )
    parser.add_argument(
        "--pairs", type=in_file, help='pairs.jsonl: lines {"prompt": …, "image": relative path}'
    )
    parser.add_argument(
        "--data-root", type=in_folder, help="folder of the images; that of pairs.jsonl if not given"
    )
    parser.add_argument("--prompt-field", default="prompt", help="name of the prompt in a line")
    parser.add_argument("--image-field", default="image", help="name of the image path in a line")
    parser.add_argument("--start-index", type=natural, default=0, help="first target")
    parser.add_argument("--limit", type=count, help="how many targets; all if not given")


def open_targets(args: argparse.Namespace):
    """An iterator over the targets (and failures) that the options name."""
    from ttsnap.sft.data import load_images
    from ttsnap.sft.targets import of_images, of_pairs

    if (args.data is None) == (args.pairs is None):
        raise BadInput("give either --data or --pairs")
    if args.data:
        refuse_beside(args, "with --data", "--data-root", "--prompt-field", "--image-field")
        data = load_images(args.data, args.folder, args.split)
        return of_images(data, args.start_index, args.limit)
    refuse_beside(args, "with --pairs", "--folder", "--split")
    return of_pairs(
        args.pairs,
        args.data_root,
        prompt_field=args.prompt_field,
        image_field=args.image_field,
        start=args.start_index,
        limit=args.limit,
    )
