"""FLOP of a denoiser evaluation, a decode and a reward, counted on the meta device from configs alone.

2 FLOP per multiply-add, attention counted; n candidates cost n times as much as one.
"""

import copy
from pathlib import Path

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, FluxTransformer2DModel
from transformers import AutoConfig, CLIPConfig, CLIPModel

from ttsnap.errors import BadInput
from ttsnap.models.checks import check_folder, own_size
from ttsnap.models.flop import count_flop
from ttsnap.models.weights import quiet_libraries
from ttsnap.samplers import Sampler, find_family
from ttsnap.samplers.base import check_size
from ttsnap.samplers.flux import FluxSampler
from ttsnap.samplers.look import look_decoder_config, pixels_per_latent
from ttsnap.samplers.sd15 import SD15Sampler
from ttsnap.samplers.sdxl import SDXLSampler
from ttsnap.samplers.whole import loras_on
from ttsnap.settings.model import Model
from ttsnap.storage.files import read_json

GUIDANCE = Model.model_fields["guidance"].default


def on_meta(model_class: type, config) -> torch.nn.Module:
    """A diffusers model from its config, on the meta device: shapes without values."""
    with quiet_libraries(), torch.device("meta"):
        return model_class.from_config(config).eval()


def denoiser_flop(denoiser: torch.nn.Module, *, rows: int, columns: int, text_tokens: int, guided: bool = True) -> int:
    """FLOP of one evaluation for one candidate, of a meta UNet or FLUX transformer.

    rows, columns: of the VAE's latents (pixels / 8 in the published models). guided: count both halves of
    classifier-free guidance (UNets; FLUX has a single evaluation).
    """
    config = denoiser.config
    if isinstance(denoiser, FluxTransformer2DModel):
        tokens = (rows // 2) * (columns // 2)
        return count_flop(
            denoiser,
            hidden_states=_meta(1, tokens, config.in_channels),
            timestep=_meta(1),
            guidance=_meta(1) if config.guidance_embeds else None,
            pooled_projections=_meta(1, config.pooled_projection_dim),
            encoder_hidden_states=_meta(1, text_tokens, config.joint_attention_dim),
            txt_ids=_meta(text_tokens, 3),
            img_ids=_meta(tokens, 3),
        )
    halves = 2 if guided else 1
    added = None
    if config.addition_embed_type == "text_time":
        pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
        added = {"text_embeds": _meta(halves, pooled), "time_ids": _meta(halves, 6)}
    return count_flop(
        denoiser,
        _meta(halves, config.in_channels, rows, columns),
        _meta(1),
        encoder_hidden_states=_meta(halves, text_tokens, config.cross_attention_dim),
        added_cond_kwargs=added,
    )


def decode_flop(vae: torch.nn.Module, *, rows: int, columns: int) -> int:
    """FLOP of decoding one image from latents of rows × columns, of a meta AutoencoderKL or AutoencoderTiny."""
    return count_flop(vae.decode, _meta(1, vae.config.latent_channels, rows, columns))


def look_decode_tflop(path: str | Path, height: int, width: int) -> float:
    """TFLOP of decoding one look of height × width pixels with the AutoencoderTiny of a folder, from its config."""
    tiny = on_meta(AutoencoderTiny, look_decoder_config(path, f"look decoder {path}"))
    scale = pixels_per_latent(tiny.config)
    check_size(height, width, scale)
    return decode_flop(tiny, rows=height // scale, columns=width // scale) / 1e12


def clip_flop(config: CLIPConfig) -> int:
    """FLOP of reading one image and one prompt of full length with a transformers CLIP model."""
    with torch.device("meta"):
        model = CLIPModel(config).eval()
    side, tokens = config.vision_config.image_size, config.text_config.max_position_embeddings
    ids = torch.zeros(1, tokens, dtype=torch.long, device="meta")
    return count_flop(model, input_ids=ids, pixel_values=_meta(1, 3, side, side))


def clip_tflop(path: str | Path) -> float:
    """`clip_flop` of a transformers CLIP folder, in TFLOP. Raises BadInput for any other folder."""
    try:
        config = AutoConfig.from_pretrained(path)
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: no model config here ({error})") from None
    if not isinstance(config, CLIPConfig):
        raise BadInput(f"{path}: this is a {config.model_type} model; expected clip")
    return clip_flop(config) / 1e12


def sampler_cost(sampler: Sampler) -> dict[str, float]:
    """TFLOP per candidate, with the LoRAs that are on: {"denoise": one evaluation, "decode": one image}.

    With a look decoder also "look_decode": one image by it.
    """
    denoiser, vae = (on_meta(type(part), part.config) for part in (sampler.denoiser, sampler.vae))
    for name in loras_on(sampler.denoiser):
        with torch.device("meta"):
            denoiser.add_adapter(copy.deepcopy(sampler.denoiser.peft_config[name]), name)
            denoiser.set_adapter(list(denoiser.peft_config))
    cost = config_cost(
        type(sampler),
        denoiser,
        vae,
        height=sampler.height,
        width=sampler.width,
        text_tokens=sampler.text_tokens,
        guided=sampler.guidance > 1,
    )
    found = {part: cost[part] for part in ("denoise", "decode")}
    if (small := sampler.look_decoder) is not None:
        scale = sampler.pipe.vae_scale_factor
        grid = {"rows": sampler.height // scale, "columns": sampler.width // scale}
        found["look_decode"] = decode_flop(on_meta(type(small), small.config), **grid) / 1e12
    return found


def folder_cost(
    path: str | Path,
    *,
    family: str | None = None,
    height: int | None = None,
    width: int | None = None,
    guidance: float = GUIDANCE,
) -> dict:
    """`config_cost` of a local diffusers folder, from its config files alone.

    height, width: pixels, by default the model's own. Raises BadInput when the folder is no pipeline of a known family.
    """
    path = Path(path)
    if not path.is_dir():
        raise BadInput(f"{path}: no such model folder")
    sampler_class = find_family(path, family)
    check_folder(path, sampler_class.family, weights=False)

    def model(model_class: type, part: str) -> torch.nn.Module:
        return on_meta(model_class, read_json(path / part / "config.json", infinities=True))

    try:
        denoiser, vae = model(sampler_class.denoiser_class, sampler_class.denoiser_name), model(AutoencoderKL, "vae")
        if sampler_class is SDXLSampler and denoiser.config.addition_embed_type != "text_time":
            raise ValueError("the UNet is not SDXL's")
        usual = own_size(denoiser.config, _vae_scale(vae))
        tokens, guided = _text_tokens(path, sampler_class), guidance > 1
        size = {"height": height or usual[0], "width": width or usual[1]}
        return config_cost(sampler_class, denoiser, vae, **size, text_tokens=tokens, guided=guided)
    except (TypeError, ValueError, KeyError, AttributeError, RuntimeError) as error:
        raise BadInput(f"{path}: its configs do not make a model ({error})") from None


def config_cost(
    sampler_class: type[Sampler], denoiser, vae, *, height: int, width: int, text_tokens: int, guided: bool
) -> dict:
    """{"family", "height", "width", "denoise", "decode"} of meta models; the last two in TFLOP per candidate."""
    scale = _vae_scale(vae)
    check_size(height, width, sampler_class.patch * scale)
    grid = {"rows": height // scale, "columns": width // scale}
    return {
        "family": sampler_class.family,
        "height": height,
        "width": width,
        "denoise": denoiser_flop(denoiser, **grid, text_tokens=text_tokens, guided=guided) / 1e12,
        "decode": decode_flop(vae, **grid) / 1e12,
    }


def _text_tokens(path: Path, sampler_class: type[Sampler]) -> int:
    if sampler_class is FluxSampler:
        return FluxSampler.text_tokens
    name = "tokenizer" if sampler_class is SD15Sampler else "tokenizer_2"
    return read_json(path / name / "tokenizer_config.json")["model_max_length"]


def _vae_scale(vae) -> int:
    return 2 ** (len(vae.config.block_out_channels) - 1)


def _meta(*shape: int) -> torch.Tensor:
    return torch.empty(shape, device="meta")
