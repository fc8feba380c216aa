"""`ttsnap cost`: the FLOP of a denoiser evaluation, a decode and a reward, from config files alone."""

import os
from typing import Annotated

from pydantic import Field

from ttsnap.commands.options import Command, Readable
from ttsnap.errors import BadInput, did_you_mean
from ttsnap.models import resolve
from ttsnap.models.assets import how_to_get
from ttsnap.settings.model import Family, Model
from ttsnap.settings.presets import PRESETS
from ttsnap.settings.section import Side

LABELS = {
    "denoise": "denoiser evaluation",
    "decode": "decode of one image",
    "look_decode": "decode of one look",
    "reward": "reward",
}


class CostOptions(Command):
    """The model, the reward and the image size."""

    model: Readable = Field(
        description="diffusers folder (its config files are enough), hub id of a downloaded model, "
        f"embedded:NAME, or a preset, which needs no files: {', '.join(PRESETS)}"
    )
    family: Family | None = Field(None, description="default: that of the folder")
    height: Side | None = Field(None, description="pixels; default: the model's own size")
    width: Side | None = Field(None, description="pixels; default: the model's own size")
    guidance: Annotated[float, Field(ge=0)] | None = Field(
        None,
        description="above 1, both halves of CFG are counted (not for FLUX); default: the preset's, or "
        f"{Model.model_fields['guidance'].default}",
    )
    look_decoder: Readable | None = Field(None, description="AutoencoderTiny (TAESD), to count a look's decode too")
    reward: Readable | None = Field(None, description="CLIP folder, to count this reward too")


def run(options: CostOptions) -> dict:
    """Print the table; return TFLOP per candidate: denoise, decode and what else was asked for."""
    model, reward = options.model, options.reward
    if model not in PRESETS and not os.path.isdir(path := resolve(model)):
        hint = f"; {how}" if (how := how_to_get(path)) else did_you_mean(model, PRESETS)
        raise BadInput(f"--model: {path}: no such model folder{hint}")
    if reward and not os.path.isdir(resolve(reward)):
        raise BadInput(f"--reward: {reward}: no such folder")
    from ttsnap.samplers.architectures import model_cost  # slow: imports diffusers
    from ttsnap.samplers.cost import clip_tflop, look_decode_tflop

    cost = model_cost(model, **options.model_dump(include={"family", "height", "width", "guidance"}))
    if options.look_decoder:
        cost["look_decode"] = look_decode_tflop(resolve(options.look_decoder), cost["height"], cost["width"])
    if reward:
        cost["reward"] = clip_tflop(resolve(reward))
    print(f"{cost['family']}, {cost['height']}×{cost['width']} pixels, one candidate")
    for key, label in LABELS.items():
        if key in cost:
            print(f"  {label:<22}{cost[key]:>12.4g} TFLOP")
    return cost
