"""The `drafts` and `looks` sections of the config: what is looked at before the final image, and how it is decoded."""

import re
from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator

from ttsnap.pruning.schedule import as_look
from ttsnap.settings.model import Solver
from ttsnap.settings.section import Section

NAME, MOST_STEPS = r"^[a-z][a-z0-9_]*$", 1000
Name = Annotated[str, Field(pattern=NAME)]


def _look(value: object) -> object:
    look = as_look(value)
    if isinstance(look, str) and re.match(NAME, look):
        return look
    if type(look) is int and 0 <= look <= MOST_STEPS:
        return look
    raise ValueError(f"{str(value)[:60]!r} is neither a step, 0 to {MOST_STEPS}, nor the name of a draft")


LookAt = Annotated[int | str, BeforeValidator(_look)]


class Draft(Section):
    """An image made from a candidate's own noise in less compute than its full run."""

    steps: Annotated[int, Field(gt=0, le=MOST_STEPS)] = Field(description="denoising steps of the draft")
    model: str | None = Field(
        None,
        description="few-step model of the same latent space: diffusers folder, hub id, or embedded:NAME; null: the "
        "model itself, in fewer steps",
    )
    lora: str | None = Field(None, description="LoRA file, switched on for the draft alone, on the model's own weights")
    guidance: Annotated[float, Field(ge=0)] | None = Field(None, description="guidance scale; null: the model's")
    solver: Solver | None = Field(None, description="solver of the draft; null: that of its model")
    karras: bool | None = Field(None, description="Karras spacing of the noise levels; null: that of its model")

    @model_validator(mode="after")
    def _one_source(self):
        if self.model and self.lora:
            raise ValueError("lora: is switched on the model's own weights; give model or lora, not both")
        return self


class Looks(Section):
    """How drafts and Tweedie images are decoded to be looked at; the final image is the VAE's."""

    decoder: str | None = Field(
        None,
        description="AutoencoderTiny (TAESD) of the model's latent space: diffusers folder, hub id, or embedded:NAME; "
        "null: the model's own VAE",
    )
