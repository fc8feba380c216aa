"""`ttsnap assign`: the E-step. For each target image, the noise that a one-step generator maps closest to it."""

import argparse

from ttsnap.commands.device_options import add_device, pick_device
from ttsnap.commands.options import in_file, out_folder, seed, side
from ttsnap.commands.settings_options import add_settings, take_settings
from ttsnap.commands.target_options import add_targets, open_targets
from ttsnap.errors import TtsnapError
from ttsnap.models import check_generator
from ttsnap.settings.sft import Assign


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_targets(parser)
    parser.add_argument(
        "--model", required=True, help="GAN folder, one-step diffusers folder or hub id"
    )
    parser.add_argument(
        "--size", type=side, help="image side of a pipeline, in pixels; its own if not given"
    )
    parser.add_argument(
        "--out",
        type=out_folder,
        required=True,
        help="folder of the assigned dataset; a rerun adds to it",
    )
    parser.add_argument(
        "--from", dest="start", type=in_file, nargs="+", default=[], metavar="MANIFEST",
        help="manifests of an earlier assignment to go on from",
    )  # fmt: skip
    parser.add_argument(
        "--mirror", action="store_true",
        help="hold just the targets given, be it none; do those of another model or settings again",
    )  # fmt: skip
    add_settings(parser, Assign)
    parser.add_argument("--seed", type=seed, default=0, help="run seed, of the base noise")
    add_device(parser)


def run(args: argparse.Namespace) -> dict:
    """Build or complete the dataset; return its summary."""
    settings = take_settings(args, Assign)
    check_generator(args.model, "--model")
    targets = open_targets(args)
    device = pick_device(args)
    from ttsnap.models import weights_digest
    from ttsnap.sft.assignment import build
    from ttsnap.sft.generators import load_generator
    from ttsnap.sft.records import has_samples, read_assigned
    from ttsnap.storage.code_digest import code

    generator = load_generator(args.model, size=args.size, device=device)
    earlier = [manifest for manifest in args.start if has_samples(manifest)]
    start = read_assigned(earlier) if earlier else None
    made_by = {"code": code("ttsnap.commands.assign"), "weights": weights_digest(args.model)}
    summary = build(
        generator, targets, args.out, settings, seed=args.seed, start=start, mirror=args.mirror,
        about=made_by if args.mirror else {},
    )  # fmt: skip
    if not summary["samples"]:
        message = f"no target could be used; {args.out}/failures.jsonl says why"
        if not args.mirror:
            raise TtsnapError(message)
        print(message)  # other shards have some
        return summary
    print(f"{summary['samples']} assigned ({summary['kept']} were there), {summary['failures']} failed; "
          f"mean loss {summary['loss_start']:.5f} → {summary['loss']:.5f}")  # fmt: skip
    return summary
