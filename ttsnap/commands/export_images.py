"""`ttsnap export-images`: the images of shards as files, in the published tree p0000/id000/s00.png."""

from typing import ClassVar

from pydantic import Field
from pydantic_settings import CliPositionalArg

from ttsnap.commands.options import Command, Filled, InFile, OutFolder, Steps
from ttsnap.settings.section import Positive
from ttsnap.storage.tree import export_shards


class ExportImagesOptions(Command):
    """Which images become files, and where."""

    fills: ClassVar[Filled] = Filled()

    images: CliPositionalArg[list[InFile]] = Field(description="image shards (HDF5), in order: prompts are numbered on")
    out: OutFolder = Field(description="folder of the tree")
    steps: Steps | None = Field(None, description="steps wanted, e.g. 9,19; if not given, all that are kept")
    limit: Positive | None = Field(None, description="only the first so many prompts")


def run(options: ExportImagesOptions) -> dict:
    """Write every image, and the prompts as prompts.json; return how much there is."""
    prompts, steps = export_shards(options.images, options.out, options.steps, options.limit)
    return {"out": options.out, "prompts": len(prompts), "steps": steps}
