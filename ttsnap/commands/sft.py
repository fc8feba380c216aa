"""`ttsnap sft`: the M-step. Finetune a one-step generator on targets with their assigned noise, or with random noise.

Runs on several processes by `accelerate launch -m ttsnap sft …`; the result is that of one process.
"""

import argparse
import os
from pathlib import Path

from ttsnap.commands.device_options import add_device, pick_device
from ttsnap.commands.options import add_replace, in_file, out_folder, seed, side
from ttsnap.commands.settings_options import add_settings, take_settings
from ttsnap.errors import BadInput
from ttsnap.models import check_generator
from ttsnap.settings.sft import Train
from ttsnap.storage.files import write_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--manifest",
        type=in_file,
        nargs="+",
        required=True,
        help="manifests of the assigned datasets",
    )
    parser.add_argument("--model", required=True, help="the generator to start from")
    parser.add_argument(
        "--teacher", help="the original model, for the preserve loss; --model if not given"
    )
    parser.add_argument("--size", type=side, help="image side of a pipeline, in pixels")
    parser.add_argument(
        "--noise", default="assigned", choices=["assigned", "random"],
        help="the assigned noise, or direct SFT on fresh random noise",
    )  # fmt: skip
    parser.add_argument("--out", type=out_folder, required=True, help="folder of the checkpoints")
    parser.add_argument("--state", help="where to keep progress, so that a killed run goes on")
    parser.add_argument(
        "--every-epoch", action="store_true", help="keep a checkpoint of every epoch, too"
    )
    add_settings(parser, Train)
    parser.add_argument("--seed", type=seed, default=0, help="order and random noise")
    add_replace(parser)
    add_device(parser)


def run(args: argparse.Namespace) -> dict:
    """Train, write checkpoint-best and -final (and -epoch-NNN), history and summary; return the summary."""
    settings = take_settings(args, Train)
    check_generator(args.model, "--model")
    check_generator(args.teacher or args.model, "--teacher")
    device = pick_device(args)
    from ttsnap.models import weights_digest
    from ttsnap.report.sft_figures import loss_curves
    from ttsnap.sft.generators import load_generator
    from ttsnap.sft.records import read_assigned
    from ttsnap.sft.train import Trainer
    from ttsnap.storage.code_digest import code
    from ttsnap.storage.provenance import check_same
    from ttsnap.training.weights import merged

    accelerator = _accelerator(device)
    if accelerator:
        device = str(accelerator.device)
    data = read_assigned(args.manifest)
    generator = load_generator(args.model, size=args.size, device=device)
    if args.noise == "assigned":
        made_for = {"model": generator.version}
        again = "assign noise for this very model, or take --noise random"
        check_same(args.manifest[0], data.made_from, args.model, made_for, again, only=("model",))
    teacher = load_generator(args.teacher or args.model, size=args.size, device=device)
    if teacher.noise_shape != generator.noise_shape or (
        tuple(data.noise.shape[1:]) != generator.noise_shape
    ):
        raise BadInput(f"--model: makes images of noise {generator.noise_shape}, the manifests hold "
                       f"{tuple(data.noise.shape[1:])}, the teacher takes {teacher.noise_shape}")  # fmt: skip
    out, version = Path(args.out), generator.version
    made_by = [weights_digest(args.model), weights_digest(args.teacher or args.model)]
    trainer = Trainer(
        generator, teacher, data, settings, noise=args.noise, seed=args.seed, accelerator=accelerator,
        about=[*made_by, code("ttsnap.commands.sft")],
    )  # fmt: skip

    means: list[float] = []

    def keep(so_far: list[float]) -> None:
        means[:] = so_far
        names = ["best"] if so_far[-1] == min(so_far) else []
        names += [f"epoch-{len(so_far):03d}"] if args.every_epoch else []
        names += ["final"] if len(so_far) == settings["epochs"] else []
        with merged(generator.module):
            for name in names:
                generator.save(out / f"checkpoint-{name}")

    history = trainer.run(Path(args.state) if args.state else None, keep)
    if trainer.rank:
        args.json = None  # the first process writes it
        return {}
    if args.state:
        Path(args.state).unlink(missing_ok=True)
    summary = {
        "noise": args.noise,
        "samples": len(data.keys),
        "updates": len(history["total"]),
        "processes": trainer.processes,
        "settings": settings,
        "seed": args.seed,
        "model": version,
        "teacher": teacher.version,
        "epoch_loss": means,
        "best_epoch": means.index(min(means)) + 1,
        "history": history,
    }
    loss_curves({args.noise: history}, out / "train_history.png")
    write_json(out / "train_summary.json", summary)
    print(f"{summary['updates']} updates on {args.noise} noise: loss {means[0]:.5f} in the first epoch, "
          f"{means[-1]:.5f} in the last; {out}/checkpoint-final")  # fmt: skip
    return summary


def _accelerator(device: str):
    """accelerate's view of the processes, when it launched several; None for one."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return None
    from accelerate import Accelerator

    return Accelerator(cpu=device == "cpu")
