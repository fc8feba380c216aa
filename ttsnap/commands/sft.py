"""`ttsnap sft`: the M-step. Finetune a one-step generator on targets with their assigned noise, or with random noise.

Runs on several processes by `accelerate launch -m ttsnap sft …`; the result is that of one process.
"""

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from ttsnap.commands.device_options import OnDevice, pick_device
from ttsnap.commands.options import Filled, ForModel, InFiles, OutFolder, Readable, Replace, Writable
from ttsnap.models import check_generator, weights_digest
from ttsnap.settings.section import Seed
from ttsnap.settings.sft import Noise, Train
from ttsnap.storage.files import write_json


class SftOptions(Replace, Train, ForModel, OnDevice):
    """The generator, the targets, and how to train."""

    fills: ClassVar = Filled(made=("train_summary.json", "checkpoint-final"), stale=("checkpoint-*",))

    manifest: InFiles = Field(min_length=1, description="manifests of the assigned datasets")
    teacher: Readable | None = Field(None, description="the original model, for the preserve loss; default: --model")
    noise: Noise = Field(
        "assigned", description="the noise assigned to each target, fresh random noise, or what each was made from"
    )
    out: OutFolder = Field(description="folder of the checkpoints")
    state: Writable | None = Field(None, description="file for the progress, from which a killed run goes on")
    every_epoch: bool = Field(False, description="also keep a checkpoint of every epoch")
    seed: Seed = Field(0, description="seed of the order and the random noise")


def run(options: SftOptions) -> dict | None:
    """Train, write checkpoint-best and -final (and -epoch-NNN), history and summary; return the summary.

    Returns None in all processes but the first.
    """
    teacher = options.teacher or options.model
    check_generator(options.model, "--model")
    check_generator(teacher, "--teacher")
    device = pick_device(options)
    from ttsnap.report.sft_figures import loss_curves
    from ttsnap.sft.train import finetune_generator
    from ttsnap.storage.code_digest import code
    from ttsnap.training.processes import join

    processes, device = join(device)
    summary = finetune_generator(
        options.manifest,
        options.model,
        teacher,
        options.out,
        options.settings_of(Train),
        **options.model_dump(include={"size", "noise", "seed", "every_epoch", "state"}),
        device=device,
        processes=processes,
        about=[weights_digest(options.model), weights_digest(teacher), code("ttsnap.commands.sft")],
    )
    if not processes.first:
        return None
    if options.state:
        Path(options.state).unlink(missing_ok=True)
    out, means = Path(options.out), summary["epoch_loss"]
    loss_curves({options.noise: summary["history"]}, out / "train_history.png")
    write_json(out / "train_summary.json", summary)
    print(
        f"{summary['updates']} updates on {options.noise} noise: loss {means[0]:.5f} in the first epoch, "
        f"{means[-1]:.5f} in the last; {out}/checkpoint-final"
    )
    return summary
