"""The `model` section of the config; apart from the rest, whose edits must not make images again."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ttsnap.settings.negtome import NegToMe
from ttsnap.settings.presets import PRESETS, with_preset
from ttsnap.settings.section import Positive, Section, Side

Family = Literal["sdxl", "flux", "sd15"]


class Model(Section):
    """The text-to-image model and how it is sampled."""

    preset: str | None = Field(None, description=f"published settings to start from: {', '.join(PRESETS)}")
    path: str = Field(description="diffusers folder, hub id, or embedded:NAME")
    family: Family | None = Field(None, description="model family; null: as the folder says")
    steps: Annotated[int, Field(gt=0, le=1000)] = Field(20, description="denoising steps S")
    guidance: Annotated[float, Field(ge=0)] = Field(5.0, description="classifier-free guidance scale")
    height: Side = Field(512, description="image height in pixels")
    width: Side = Field(512, description="image width in pixels")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="weights' type; auto: bfloat16 where the hardware multiplies it, else float32"
    )
    batch_size: Positive = Field(8, description="candidates denoised at once; results do not depend on it")
    offload: Literal["none", "model", "sequential"] = Field(
        "none", description="GPU memory holds all parts, the part at work, or the layer at work"
    )
    compile: bool = Field(False, description="torch.compile the denoiser")
    slicing: bool = Field(False, description="decode one image at a time: less memory")
    negtome: NegToMe | None = Field(None, description="push the candidates of a group apart; null: off")

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, values):
        return with_preset(values) if isinstance(values, dict) else values
