"""`ttsnap import-values`: published reward values, a folder of YAML files, as a reward tensor."""

from typing import Annotated, Literal

from pydantic import Field

from ttsnap.commands.options import Command, InFile, InFolder, OutFile, Tflop
from ttsnap.storage.published import FOLDER_REWARDS, published_tensor
from ttsnap.storage.tensor import write_tensor


class ImportValuesOptions(Command):
    """The values, and what is known about them."""

    base: InFolder = Field(description="base values: p200_i200_sNN.yaml, one per step")
    noise_aware: InFolder | None = Field(None, description="noise-aware values, likewise")
    out: OutFile = Field(description="reward tensor to write (HDF5)")
    model: str | None = Field(None, description="default: the first word of the folder's name")
    reward: str | None = Field(None, description="default: from the second word of the folder's name")
    kind: Literal[tuple(sorted(set(FOLDER_REWARDS.values())))] | None = Field(
        None, description="kind of reward, and so the units of the values; default: from the folder's name"
    )
    num_steps: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        None, description="default: the last step found, plus 1"
    )
    prompts_file: InFile | None = Field(None, description="JSON list of the prompts' text")
    denoise_cost: Tflop | None = Field(None, description="TFLOP, to record as denoise_tflop")
    look_cost: Tflop | None = Field(None, description="TFLOP, to record as look_tflop")


def run(options: ImportValuesOptions) -> dict:
    """Read the folders and write the tensor; return its shape and attributes."""
    tensor = published_tensor(
        options.base,
        options.noise_aware,
        steps=options.num_steps,
        prompts=options.prompts_file,
        model=options.model,
        reward=options.reward,
        kind=options.kind,
        denoise_tflop=options.denoise_cost,
        look_tflop=options.look_cost,
    )
    write_tensor(options.out, tensor)
    prompts, candidates, steps = tensor.base.shape
    print(f"{options.out}: {prompts} prompts, {candidates} candidates, {steps} steps")
    return {
        "out": options.out,
        "prompts": prompts,
        "candidates": candidates,
        "steps": steps,
        "base_steps": tensor.read,
        "levels": tensor.levels,
        **tensor.attrs,
    }
