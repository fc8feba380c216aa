"""`ttsnap train-classifier`: the judge of generated images, trained on the real ones."""

import argparse

from ttsnap.commands.device_options import add_device, pick_device
from ttsnap.commands.options import count, in_folder, out_file, seed
from ttsnap.settings.sft import SIZES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--data", default="digits", choices=SIZES, help="data set")
    parser.add_argument("--folder", type=in_folder, help="where the data set's files lie")
    parser.add_argument("--out", type=out_file, required=True, help="its weights (safetensors)")
    parser.add_argument(
        "--epochs", type=count, help="passes over the training split; 8 or more if not given"
    )
    parser.add_argument("--seed", type=seed, default=0, help="of weights and order")
    add_device(parser)


def run(args: argparse.Namespace) -> dict:
    """Train, save, and return the accuracy on the test split."""
    from ttsnap.sft.data import load_images

    splits = [load_images(args.data, args.folder, split) for split in ("train", "test")]
    device = pick_device(args)
    from ttsnap.sft.classifier import save_classifier, train_classifier

    net, figures = train_classifier(*splits, args.seed, device, args.epochs, args.data)
    save_classifier(net, args.out)
    print(f"{args.data}: {figures['test_accuracy']:.1%} of the test split right")
    return figures
