"""The published architectures of the presets, so that their FLOP are known before anything is downloaded.

Each is what the published config says apart from the defaults of diffusers' class.
"""

from diffusers import AutoencoderKL, FluxTransformer2DModel, UNet2DConditionModel

from ttsnap.errors import BadInput
from ttsnap.models import resolve
from ttsnap.samplers import FAMILIES
from ttsnap.samplers.base import check_size
from ttsnap.samplers.cost import GUIDANCE, decode_flop, denoiser_flop, folder_cost, on_meta
from ttsnap.settings.presets import PRESETS

FLUX = {"guidance_embeds": True}
SDXL = {
    "sample_size": 128,
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
SD15 = {"sample_size": 64, "cross_attention_dim": 768}
VAE = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
}
SCALE = 8  # pixels per latent, of every one of them
FAMILY = {  # denoiser, its config, latent channels, text tokens
    "flux": (FluxTransformer2DModel, FLUX, 16, 512),
    "sdxl": (UNet2DConditionModel, SDXL, 4, 77),
    "sd15": (UNet2DConditionModel, SD15, 4, 77),
}
OF_PRESET = {"flux-dev": "flux", "realvisxl": "sdxl", "sdxl-base": "sdxl", "sdxl-turbo": "sdxl", "hyper-sd15": "sd15"}


def model_cost(
    model: str,
    *,
    family: str | None = None,
    height: int | None = None,
    width: int | None = None,
    guidance: float | None = None,
) -> dict:
    """What `folder_cost` gives, of a preset, a folder, embedded:NAME or the hub id of a downloaded model.

    height, width, guidance: by default the preset's; of others the model's own size and the guidance that a config has
    by default. Raises BadInput for a model of another family than the one given.
    """
    size = {"height": height, "width": width}
    if model not in PRESETS:
        guidance = GUIDANCE if guidance is None else guidance
        return folder_cost(resolve(model), family=family, **size, guidance=guidance)
    cost = preset_cost(model, **size, guidance=guidance)
    if family not in (None, cost["family"]):
        raise BadInput(f"--family: {model} is of the family {cost['family']}")
    return cost


def preset_cost(
    name: str, *, height: int | None = None, width: int | None = None, guidance: float | None = None
) -> dict:
    """What `folder_cost` gives, of a preset: by default at its own size and guidance, in TFLOP."""
    preset, family = PRESETS[name], OF_PRESET[name]
    height, width = height or preset["height"], width or preset["width"]
    guidance = preset["guidance"] if guidance is None else guidance
    check_size(height, width, FAMILIES[family].patch * SCALE)
    denoiser, config, channels, tokens = FAMILY[family]
    grid = {"rows": height // SCALE, "columns": width // SCALE}
    denoise = denoiser_flop(on_meta(denoiser, config), **grid, text_tokens=tokens, guided=guidance > 1)
    decode = decode_flop(on_meta(AutoencoderKL, {**VAE, "latent_channels": channels}), **grid)
    sizes = {"family": family, "height": height, "width": width}
    return sizes | {"denoise": denoise / 1e12, "decode": decode / 1e12}
