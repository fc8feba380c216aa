"""`ttsnap train-gan`: the class-conditional one-step generator of a labelled data set."""

import argparse

from ttsnap.commands.device_options import add_device, pick_device
from ttsnap.commands.options import add_replace, in_folder, out_folder, seed
from ttsnap.commands.settings_options import add_settings, take_settings
from ttsnap.settings.sft import SIZES, Gan


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--data", default="digits", choices=SIZES, help="data set, of which the train split is used"
    )
    parser.add_argument("--folder", type=in_folder, help="where the data set's files lie")
    parser.add_argument(
        "--out",
        type=out_folder,
        required=True,
        help="folder for generator.safetensors, config.json",
    )
    add_settings(parser, Gan)
    parser.add_argument("--seed", type=seed, default=0, help="of weights, order and noise")
    add_replace(parser)
    add_device(parser)


def run(args: argparse.Namespace) -> dict:
    """Train and save; return the figures."""
    from ttsnap.sft.data import load_images

    settings = take_settings(args, Gan)
    data = load_images(args.data, args.folder, "train")
    device = pick_device(args)
    from ttsnap.sft.gan import save_gan, train_gan

    net, figures = train_gan(data, settings, args.seed, device)
    save_gan(net, args.out)
    return {**figures, "data": args.data, "settings": settings, "seed": args.seed}
