"""Published settings of well-known models, for `model.preset` and `--model NAME`."""

from ttsnap.errors import did_you_mean

FLUX_SETTINGS = {"steps": 20, "guidance": 3.5, "height": 512, "width": 512, "dtype": "bfloat16"}
SDXL_SETTINGS = FLUX_SETTINGS | {"guidance": 5.0}
ONE_STEP = {"steps": 1, "guidance": 0.0, "height": 512, "width": 512}
NEGTOME = {"group": 8}  # with the family's published α, threshold and timesteps

PRESETS: dict[str, dict] = {
    # TTSnap (arXiv 2511.22242): images of one prompt in groups of 8, pushed apart by NegToMe.
    "flux-dev": {"path": "black-forest-labs/FLUX.1-dev", **FLUX_SETTINGS, "negtome": NEGTOME},
    "realvisxl": {"path": "SG161222/RealVisXL_V4.0", **SDXL_SETTINGS, "negtome": NEGTOME},
    "sdxl-base": {"path": "stabilityai/stable-diffusion-xl-base-1.0", **SDXL_SETTINGS},
    # One-step generators of the SFT branch.
    "sdxl-turbo": {"path": "stabilityai/sdxl-turbo", **ONE_STEP},
    "hyper-sd15": {"path": "models/Hyper-SD15-1step", **ONE_STEP},
}


def with_preset(values: dict) -> dict:
    """A model's settings, with missing ones filled in from their `preset`.

    Raises ValueError for an unknown preset.
    """
    name = values.get("preset")
    if name is None:
        return values
    if name not in PRESETS:
        hint = did_you_mean(name, PRESETS)
        raise ValueError(f"preset: {name!r} is not one of {', '.join(PRESETS)}{hint}")
    return {**PRESETS[name], **values}
