"""The options for a text-to-image model and its sampling: the keys of the config's `model`."""

from pydantic import AliasChoices, Field, model_validator

from ttsnap.commands.device_options import has_fast_bfloat16
from ttsnap.commands.options import Readable
from ttsnap.settings.model import Model
from ttsnap.settings.presets import PRESETS


class ForSampling(Model):
    """The text-to-image model and its sampling; defaults are those of the preset, if there is one."""

    path: Readable = Field(
        validation_alias=AliasChoices("model", "path"),
        description=f"diffusers folder, hub id, embedded:NAME, or a preset: {', '.join(PRESETS)}",
    )

    @model_validator(mode="before")
    @classmethod
    def _named(cls, values):
        name = values.get("model")
        if name not in PRESETS:
            return values
        return {"preset": name, **{key: value for key, value in values.items() if key != "model"}}


def sampling_of(options: ForSampling, device: str) -> dict:
    """The arguments of `load_sampler` that the options give."""
    dtype = options.dtype
    if dtype == "auto":
        dtype = "bfloat16" if has_fast_bfloat16(device) else "float32"
    keys = ("family", "steps", "guidance", "solver", "karras", "height", "width")
    keys += ("offload", "compile", "slicing", "negtome")
    return {"device": device, "dtype": dtype, **{key: getattr(options, key) for key in keys}}


def open_model(options: ForSampling, device: str, look_decoder: str | None = None):
    """The sampler that the options name, on `device`; look_decoder: of its looks."""
    from ttsnap.models import resolve
    from ttsnap.samplers import load_sampler

    decoder = resolve(look_decoder) if look_decoder else None
    return load_sampler(resolve(options.path), look_decoder=decoder, **sampling_of(options, device))
