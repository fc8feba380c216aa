"""`python -m recipe train-shapes`: train one of the embedded models again, from a seed alone."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from pydantic_settings import CliPositionalArg

from ttsnap.commands.device_options import OnDevice, pick_device
from ttsnap.commands.options import Command, Filled, OutFolder
from ttsnap.errors import BadInput
from ttsnap.settings.section import Seed
from ttsnap.storage.files import write_json

# part → the file of an earlier part that it needs
NEEDS = {
    "vae": None,
    "teacher": "vae/config.json",
    "generator": "shapes-teacher/model_index.json",
    "reward": "shapes-sdxl/model_index.json",
    "onestep": "shapes-clip/config.json",
    "look_decoder": "shapes-clip/config.json",
}


class TrainShapesOptions(Command, OnDevice):
    """The model, and how thoroughly to train it."""

    fills: ClassVar = Filled(made=("vae.json", "shapes-teacher", "shapes-sdxl"), free=("part",))

    part: CliPositionalArg[Literal[*NEEDS]] = Field(description="each needs the one before it; look_decoder the reward")
    out: OutFolder = Field(description="folder of all the models")
    scale: Annotated[float, Field(gt=0, le=100)] = Field(
        1.0, description="share of the recipe's steps and data; below 1 to try it out"
    )
    seed: Seed = Field(0, description="seed of weights, data and order")


def run(options: TrainShapesOptions) -> dict:
    """Train and save a part with its model card; return its figures."""
    part, out = options.part, Path(options.out)
    if (needed := NEEDS[part]) and not (out / needed).is_file():
        raise BadInput(f"{out / needed}: no such file; train the part before {part} first")
    device = pick_device(options)
    from recipe.parts import train_part

    figures = train_part(part, out, options.scale, options.seed, device)
    write_json(out / f"{part}.json", figures)
    return figures
