"""`ttsnap export-images`: the images of shards as files, in the published tree p0000/id000/s00.png."""

from typing import ClassVar

from pydantic import Field
from pydantic_settings import CliPositionalArg

from ttsnap.commands.options import Command, Filled, InFile, OutFolder, Steps
from ttsnap.settings.section import Positive
from ttsnap.storage.tree import export_shards


class ExportImagesOptions(Command):
    """The images, and the folder for their files."""

    fills: ClassVar = Filled()

    images: CliPositionalArg[list[InFile]] = Field(
        description="image shards (HDF5) in order; prompts are numbered across them"
    )
    out: OutFolder = Field(description="folder of the tree")
    steps: Steps | None = Field(None, description="steps to export, e.g. 9,19; default: all that were kept")
    pairs: bool = Field(
        False, description="write pairs.jsonl too: prompt, image of the last step exported, and the seed of its noise"
    )
    limit: Positive | None = Field(None, description="export only so many prompts, the first ones")


def run(options: ExportImagesOptions) -> dict:
    """Write every image, and the prompts as prompts.json; return their numbers."""
    prompts, steps = export_shards(options.images, options.out, options.steps, options.limit, options.pairs)
    return {"out": options.out, "prompts": len(prompts), "steps": steps}
