"""Check by sampling that an orthogonal map, fixed beforehand, leaves Gaussian noise Gaussian."""

import argparse
import math

from ttsnap.commands.options import count, number, out_folder, seed
from ttsnap.errors import BadInput, TtsnapError

MOST_NUMBERS = 100_000_000  # that are held at once


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--channels", type=count, default=4, help="channels C of the latents")
    parser.add_argument("--patch-size", type=count, default=2, help="side p of a patch, in latents")
    parser.add_argument("--samples", type=count, default=65536, help="patches drawn")
    parser.add_argument("--scale", type=number(0), default=1.0, help="spread of the entries of A")
    parser.add_argument(
        "--out", type=out_folder, required=True, help="folder for the figures and JSON files"
    )
    parser.add_argument("--seed", type=seed, default=0, help="of Q and of the noise")


def run(args: argparse.Namespace) -> dict:
    """Draw ε and a random Q for either map, compare ε and Qε; return the comparisons.

    Raises TtsnapError when Qε is no longer N(0, I).
    """
    size = args.channels * args.patch_size**2
    if args.samples < 2 * size:
        raise BadInput(f"--samples: {args.samples} is too few for {size} dimensions")
    if args.samples * size > MOST_NUMBERS or size**2 > MOST_NUMBERS:
        raise BadInput(
            f"--samples: {args.samples} of {size} dimensions are more than {MOST_NUMBERS:,} numbers; give fewer"
        )
    import torch

    from ttsnap.noise.maps import MAPS, rotate_vectors, skew
    from ttsnap.report.diagnostics import write
    from ttsnap.storage.files import write_json

    generator = torch.Generator().manual_seed(args.seed)
    eps = torch.randn(args.samples, size, generator=generator)
    a = torch.randn(size, size, generator=generator) * args.scale
    results = {"channels": args.channels, "patch_size": args.patch_size, "maps": {}}
    for name, to_q in MAPS.items():
        q = to_q(skew(a))
        found = write(args.out, name, eps, rotate_vectors(eps, q), 1, q)
        found["agrees"] = _agrees(found)
        results["maps"][name] = found
        print(f"{name}: {'agrees' if found['agrees'] else 'DOES NOT AGREE'} with N(0, I): "
              f"mean {found['after']['mean']:+.4f}, variance {found['after']['variance']:.4f}, "
              f"‖QᵀQ−I‖ {found['orthogonality_error']:.1e}")  # fmt: skip
    results["agrees"] = all(found["agrees"] for found in results["maps"].values())
    if not results["agrees"]:
        if args.json:
            write_json(args.json, results)
        raise TtsnapError("a map does not leave Gaussian noise Gaussian; the figures show where")
    return results


def _agrees(found: dict) -> bool:
    """Whether moments lie within five standard errors of N(0, I)'s, and norms are kept."""
    n, d = found["samples"], found["dimensions"]
    after, five = found["after"], 5 / math.sqrt(n)
    low, high = after["dimension_variance"]
    edge = 2 * math.sqrt(d / n) + d / n + five  # Marchenko–Pastur's, of the extreme eigenvalues
    return bool(
        abs(after["mean"]) < five / math.sqrt(d)
        and abs(after["variance"] - 1) < five * math.sqrt(2 / d)
        and after["largest_dimension_mean"] < five
        and max(1 - low, high - 1) < five * math.sqrt(2)
        and max(1 - after["spectrum"][0], after["spectrum"][-1] - 1) < edge
        and found["largest_relative_norm_change"] < 1e-4
        and found["orthogonality_error"] < 1e-4
    )
