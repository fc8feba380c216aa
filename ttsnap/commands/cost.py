"""`ttsnap cost`: what one look at one candidate costs, from config files alone."""

import argparse
from pathlib import Path

from ttsnap.commands.options import number, side
from ttsnap.errors import BadInput, did_you_mean
from ttsnap.models import resolve
from ttsnap.models.assets import how_to_get
from ttsnap.settings.presets import PRESETS

LABELS = {"denoise": "denoiser evaluation", "decode": "decode of one image", "reward": "reward"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--model",
        required=True,
        metavar="MODEL",
        help="diffusers folder, of which the config files are enough, hub id of a downloaded model, embedded:NAME, "
        f"or a preset, which needs no file: {', '.join(PRESETS)}",
    )
    parser.add_argument(
        "--family", choices=["sdxl", "flux", "sd15"], help="if not given, as the folder says"
    )
    parser.add_argument("--height", type=side, help="pixels; if not given, the model's own size")
    parser.add_argument("--width", type=side, help="pixels; if not given, the model's own size")
    parser.add_argument(
        "--guidance",
        type=number(0),
        help="over 1, both halves of CFG are counted (not FLUX); if not given, the preset's, or 5.0",
    )
    parser.add_argument("--reward", metavar="PATH", help="also count the CLIP in this folder")


def run(args: argparse.Namespace) -> dict:
    """Print the table; return TFLOP per candidate: denoise, decode and, if asked for, reward."""
    _check(args)
    from ttsnap.samplers.cost import clip_flop, read_clip_config  # slow: imports diffusers

    cost = _of_model(args)
    if args.reward:
        cost["reward"] = clip_flop(read_clip_config(resolve(args.reward))) / 1e12
    print(f"{cost['family']}, {cost['height']}×{cost['width']} pixels, one candidate")
    for key, label in LABELS.items():
        if key in cost:
            print(f"  {label:<22}{cost[key]:>12.4g} TFLOP")
    return cost


def _check(args: argparse.Namespace) -> None:
    """Refuse, before anything slow is imported, a model or a reward that is not there."""
    if args.model not in PRESETS and not Path(path := resolve(args.model)).is_dir():
        hint = f"; {how}" if (how := how_to_get(path)) else did_you_mean(args.model, PRESETS)
        raise BadInput(f"--model: {path}: no such model folder{hint}")
    if args.reward and not Path(resolve(args.reward)).exists():
        raise BadInput(f"--reward: {args.reward}: no such folder")


def _of_model(args: argparse.Namespace) -> dict:
    from ttsnap.samplers.architectures import preset_cost
    from ttsnap.samplers.cost import folder_cost

    size = {"height": args.height, "width": args.width}
    if args.model in PRESETS:
        cost = preset_cost(args.model, **size, guidance=args.guidance)
        if args.family not in (None, cost["family"]):
            raise BadInput(f"--family: {args.model} is of the family {cost['family']}")
        return cost
    path = resolve(args.model)
    guidance = 5.0 if args.guidance is None else args.guidance
    return folder_cost(path, family=args.family, **size, guidance=guidance)
