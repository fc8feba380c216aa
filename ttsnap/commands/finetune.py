"""`ttsnap finetune`: one level of noise-aware finetuning, from the weights of the level before."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import CliVariadicArg

from ttsnap.commands.device_options import OnDevice, pick_device
from ttsnap.commands.options import Command, InFile, OutFile, Writable
from ttsnap.commands.reward_options import ForReward, check_reward, open_reward
from ttsnap.settings.finetune import FinetuneLevel
from ttsnap.settings.section import Count, Seed
from ttsnap.storage.labelled import check_held_out, read_labelled

Files = CliVariadicArg[list[InFile]]


class FinetuneOptions(Command, FinetuneLevel, ForReward, OnDevice):
    """Which level, from where, on which images, and how."""

    level: Count = Field(description="step whose Tweedie images are learned")
    start: InFile | None = Field(None, description="checkpoint of the level before; the base weights if not given")
    train_images: Files = Field(min_length=1, description="image shards (HDF5) to train on")
    train_labels: Files = Field(min_length=1, description="their label files")
    validation_images: Files = Field(min_length=1, description="held-out image shards (HDF5)")
    validation_labels: Files = Field(min_length=1, description="their label files")
    out: OutFile = Field(description="checkpoint (safetensors)")
    state: Writable | None = Field(None, description="where to keep progress, so that a killed run goes on")
    seed: Seed = Field(0, description="order of the images")


def run(options: FinetuneOptions) -> dict:
    """Train, judge on the validation prompts, write the better of start and result; return the figures."""
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
        options.model_dump(include=set(FinetuneLevel.model_fields)),
        start=options.start,
        seed=options.seed,
        state=state,
        processes=processes,
    )
    if processes.first:
        save_level(options.out, found.weights, found.about)
        if state:
            state.unlink(missing_ok=True)
    images = int(train.labels.size)
    return {**found.figures, "reward": options.kind, "images": images, "loss": found.loss}
