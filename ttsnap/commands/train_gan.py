"""`ttsnap train-gan`: the class-conditional one-step generator of a labelled data set."""

from typing import ClassVar

from pydantic import Field

from ttsnap.commands.device_options import OnDevice, pick_device
from ttsnap.commands.options import Filled, OutFolder, Replace
from ttsnap.commands.target_options import ForDataSet
from ttsnap.settings.section import Seed
from ttsnap.settings.sft import Gan


class TrainGanOptions(Replace, Gan, ForDataSet, OnDevice):
    """The data set, whose train split is used, and how to train."""

    fills: ClassVar = Filled(made=("generator.safetensors",))

    out: OutFolder = Field(description="folder for generator.safetensors, config.json")
    seed: Seed = Field(0, description="seed of weights, order and noise")


def run(options: TrainGanOptions) -> dict:
    """Train and save; return the figures."""
    from ttsnap.sft.data import load_images

    images = load_images(options.data, options.folder, "train")
    device = pick_device(options)
    from ttsnap.sft.gan import save_gan, train_gan

    settings = options.settings_of(Gan)
    net, figures = train_gan(images, settings, options.seed, device)
    save_gan(net, options.out)
    return {**figures, "data": options.data, "settings": settings, "seed": options.seed}
