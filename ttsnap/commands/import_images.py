"""`ttsnap import-images`: a tree of images p0000/id000/s00.png as an image shard, ready to label or score."""

from typing import Annotated

from pydantic import Field
from pydantic_settings import CliPositionalArg

from ttsnap.commands.options import Command, InFile, InFolder, OutFile, Tflop
from ttsnap.storage.tree import import_tree


class ImportImagesOptions(Command):
    """The images, and what is known about them."""

    tree: CliPositionalArg[InFolder] = Field(description="folder of p<prompt>/id<candidate>/s<step>.png")
    out: OutFile = Field(description="image shard (HDF5)")
    prompts: InFile | None = Field(
        None, description="prompt file whose entry N, from 0, is the text of pN; default: prompts.json in the tree"
    )
    num_steps: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        None, description="number of denoising steps; default: the last step found, plus 1"
    )
    model: str = Field("imported", description="what made the images, to record")
    denoise_cost: Tflop | None = Field(None, description="TFLOP of one step, to record as denoise_tflop")
    decode_cost: Tflop | None = Field(None, description="TFLOP of one image, to record as decode_tflop")


def run(options: ImportImagesOptions) -> dict:
    """Read the tree prompt by prompt and write the shard; return its size."""
    costs = {"denoise_tflop": options.denoise_cost, "decode_tflop": options.decode_cost}
    shard = import_tree(
        options.tree,
        options.out,
        options.prompts,
        options.num_steps,
        options.model,
        {key: value for key, value in costs.items() if value is not None},
    )
    return {
        "out": options.out,
        "prompts": len(shard.prompts),
        "candidates": shard.candidates,
        "kept_steps": shard.looks,
        **shard.attributes,
    }
