"""The `model` section of the config, in a module of its own: an edit elsewhere must not regenerate images."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ttsnap.settings.negtome import NegToMe
from ttsnap.settings.presets import PRESETS, with_preset
from ttsnap.settings.section import Positive, Section, Side

Family = Literal["sdxl", "flux", "sd15"]
Solver = Literal["euler", "dpmpp_2m", "ddim"]


class Model(Section):
    """The text-to-image model and how it is sampled."""

    preset: str | None = Field(None, description=f"published settings to start from: {', '.join(PRESETS)}")
    path: str = Field(description="diffusers folder, hub id, or embedded:NAME")
    family: Family | None = Field(None, description="model family; null: from the folder")
    steps: Annotated[int, Field(gt=0, le=1000)] = Field(20, description="denoising steps S")
    guidance: Annotated[float, Field(ge=0)] = Field(5.0, description="classifier-free guidance scale")
    solver: Solver | None = Field(
        None,
        description=(
            "euler, dpmpp_2m (DPM-Solver++ 2M) or, not for FLUX, ddim;"
            " null: the folder's scheduler, or euler in place of one that is none of these"
        ),
    )
    karras: bool | None = Field(
        None, description="Karras spacing of the noise levels (euler, dpmpp_2m); null: as the folder's scheduler"
    )
    height: Side = Field(512, description="image height in pixels")
    width: Side = Field(512, description="image width in pixels")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="type of the weights; auto: bfloat16 on hardware that supports it, else float32"
    )
    batch_size: Positive = Field(8, description="candidates denoised at once; does not affect results")
    offload: Literal["none", "model", "sequential"] = Field(
        "none",
        description="what GPU memory holds: none: all parts, model: the active part, sequential: the active layer",
    )
    compile: bool = Field(False, description="torch.compile the denoiser")
    slicing: bool = Field(False, description="decode one image at a time, to save memory")
    negtome: NegToMe | None = Field(None, description="push the candidates of a group apart; null: off")

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, values):
        return with_preset(values) if isinstance(values, dict) else values
