"""`ttsnap cost`: what one look at one candidate costs, from config files alone."""

import argparse

LABELS = {"denoise": "denoiser evaluation", "decode": "decode of one image", "reward": "reward"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--model", required=True, metavar="PATH", help="diffusers folder; weights are not needed"
    )
    parser.add_argument("--family", help="sdxl, flux or sd15; if not given, as the folder says")
    parser.add_argument("--height", type=int, help="pixels; if not given, the model's own size")
    parser.add_argument("--width", type=int, help="pixels; if not given, the model's own size")
    parser.add_argument(
        "--guidance", type=float, default=5.0, help="over 1, both halves of SDXL's CFG are counted"
    )
    parser.add_argument("--reward", metavar="PATH", help="also count the CLIP in this folder")


def run(args: argparse.Namespace) -> dict:
    """Print the table; return TFLOP per candidate: denoise, decode and, if asked for, reward."""
    from ttsnap.cost import clip_flop, folder_cost, read_clip_config  # slow: imports diffusers

    cost = folder_cost(
        args.model,
        family=args.family,
        height=args.height,
        width=args.width,
        guidance=args.guidance,
    )
    if args.reward:
        cost["reward"] = clip_flop(read_clip_config(args.reward)) / 1e12
    print(f"{cost['family']}, {cost['height']}×{cost['width']} pixels, one candidate")
    for key, label in LABELS.items():
        if key in cost:
            print(f"  {label:<22}{cost[key]:>12.4g} TFLOP")
    return cost
