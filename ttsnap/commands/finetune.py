"""`ttsnap finetune`: one level of noise-aware finetuning, from the weights of the level before."""

from pathlib import Path

from pydantic import Field

from ttsnap.commands.device_options import OnDevice, pick_device
from ttsnap.commands.options import Command, InFile, InFiles, OutFile, Writable
from ttsnap.commands.reward_options import ForReward, check_reward, open_reward
from ttsnap.settings.drafts import LookAt
from ttsnap.settings.finetune import FinetuneLevel
from ttsnap.settings.section import Seed
from ttsnap.storage.labelled import check_held_out, read_labelled


class FinetuneOptions(Command, FinetuneLevel, ForReward, OnDevice):
    """The level, the weights to start from, the images, and how to train."""

    level: LookAt = Field(description="step whose Tweedie images to learn, or the name of a draft")
    start: InFile | None = Field(None, description="checkpoint of the level before; default: the base weights")
    train_images: InFiles = Field(min_length=1, description="image shards (HDF5) to train on")
    train_labels: InFiles = Field(min_length=1, description="their label files")
    validation_images: InFiles = Field(min_length=1, description="held-out image shards (HDF5)")
    validation_labels: InFiles = Field(min_length=1, description="their label files")
    out: OutFile = Field(description="checkpoint (safetensors)")
    state: Writable | None = Field(None, description="file for the progress, from which a killed run goes on")
    seed: Seed = Field(0, description="seed of the order of the images")


def run(options: FinetuneOptions) -> dict:
    """Train, validate, write the better of start and result; return the figures."""
    check_reward(options)
    train = read_labelled(options.train_images, options.train_labels, options.level)
    validation = read_labelled(options.validation_images, options.validation_labels, options.level)
    check_held_out(validation, train)
    from ttsnap.finetune.level import finetune_level
    from ttsnap.rewards.levels import save_level
    from ttsnap.training.processes import join

    processes, device = join(pick_device(options))
    state = Path(options.state) if options.state else None
    found = finetune_level(
        open_reward(options, device),
        options.level,
        train,
        validation,
        options.settings_of(FinetuneLevel),
        start=options.start,
        seed=options.seed,
        state=state,
        processes=processes,
    )
    if processes.first:
        save_level(options.out, found.weights, found.about)
        if state:
            state.unlink(missing_ok=True)
    return {**found.figures, "reward": options.kind, "images": int(train.labels.size), "loss": found.loss}
