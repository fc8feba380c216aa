"""The published architectures of the presets, so that their FLOP are known before anything is downloaded.

Each holds what the published config changes from the defaults of diffusers' class.
"""

from diffusers import AutoencoderKL

from ttsnap.errors import BadInput
from ttsnap.models import resolve
from ttsnap.samplers import FAMILIES
from ttsnap.samplers.cost import GUIDANCE, config_cost, folder_cost, on_meta
from ttsnap.settings.presets import PRESETS

FLUX_TRANSFORMER = {"guidance_embeds": True}
SDXL_UNET = {
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
SD15_UNET = {"sample_size": 64, "cross_attention_dim": 768}
PUBLISHED_VAE = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
}
ARCHITECTURES = {  # family: config of the denoiser, latent channels, text tokens
    "flux": (FLUX_TRANSFORMER, 16, 512),
    "sdxl": (SDXL_UNET, 4, 77),
    "sd15": (SD15_UNET, 4, 77),
}
PRESET_FAMILIES = {
    "flux-dev": "flux", "realvisxl": "sdxl", "sdxl-base": "sdxl", "sdxl-turbo": "sdxl", "hyper-sd15": "sd15",
}  # fmt: skip


def model_cost(
    model: str,
    *,
    family: str | None = None,
    height: int | None = None,
    width: int | None = None,
    guidance: float | None = None,
) -> dict:
    """`folder_cost` of a preset, a folder, embedded:NAME or the hub id of a downloaded model.

    height, width, guidance: by default the preset's; for any other model its own size, and the guidance that a config
    has by default. Raises BadInput for a model of another family than `family`.
    """
    if model not in PRESETS:
        guidance = GUIDANCE if guidance is None else guidance
        return folder_cost(resolve(model), family=family, height=height, width=width, guidance=guidance)
    preset, sampler_class = PRESETS[model], FAMILIES[PRESET_FAMILIES[model]]
    if family not in (None, sampler_class.family):
        raise BadInput(f"--family: {model} is of the family {sampler_class.family}")
    config, channels, tokens = ARCHITECTURES[sampler_class.family]
    return config_cost(
        sampler_class,
        on_meta(sampler_class.denoiser_class, config),
        on_meta(AutoencoderKL, PUBLISHED_VAE | {"latent_channels": channels}),
        height=height or preset["height"],
        width=width or preset["width"],
        text_tokens=tokens,
        guided=(preset["guidance"] if guidance is None else guidance) > 1,
    )
