"""`ttsnap assign`: the E-step. For each target image, the noise that a one-step generator maps closest to it."""

from typing import ClassVar

from pydantic import Field

from ttsnap.commands.device_options import OnDevice, pick_device
from ttsnap.commands.options import Command, Filled, ForModel, InFiles, OutFolder
from ttsnap.commands.target_options import ForTargets, open_targets
from ttsnap.errors import TtsnapError
from ttsnap.models import check_generator
from ttsnap.settings.section import Seed
from ttsnap.settings.sft import Assign


class AssignOptions(Command, Assign, ForModel, ForTargets, OnDevice):
    """The targets, the generator, and how to find the noise."""

    fills: ClassVar = Filled(made=("manifest.jsonl", "blocks"), free=None)

    out: OutFolder = Field(description="folder of the assigned dataset; a rerun adds to it")
    start: InFiles = Field([], validation_alias="from", description="manifests of an earlier assignment to go on from")
    mirror: bool = Field(
        False, description="keep only the targets given, even if none; redo those of another model or other settings"
    )
    seed: Seed = Field(0, description="run seed, of the base noise")


def run(options: AssignOptions) -> dict:
    """Build or complete the dataset; return its summary."""
    check_generator(options.model, "--model")
    targets = open_targets(options)
    device = pick_device(options)
    from ttsnap.models import weights_digest
    from ttsnap.sft.assignment import assign_targets
    from ttsnap.sft.generators import load_generator
    from ttsnap.sft.records import has_samples, read_assigned
    from ttsnap.storage.code_digest import code

    generator = load_generator(options.model, size=options.size, device=device)
    earlier = [manifest for manifest in options.start if has_samples(manifest)]
    made_by = {"code": code("ttsnap.commands.assign"), "weights": weights_digest(options.model)}
    summary = assign_targets(
        generator,
        targets,
        options.out,
        options.settings_of(Assign),
        seed=options.seed,
        start=read_assigned(earlier) if earlier else None,
        mirror=options.mirror,
        about=made_by if options.mirror else {},
    )
    if not summary["samples"]:
        message = f"no target could be used; {options.out}/failures.jsonl says why"
        if not options.mirror:
            raise TtsnapError(message)
        print(message)  # other shards may have some
        return summary
    print(
        f"{summary['samples']} assigned ({summary['kept']} kept), {summary['failures']} failed; "
        f"mean loss {summary['loss_start']:.5f} → {summary['loss']:.5f}"
    )
    return summary
