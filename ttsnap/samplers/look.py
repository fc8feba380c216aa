"""The look decoder: an AutoencoderTiny (TAESD, github.com/madebyollin/taesd) that decodes half-denoised images fast."""

import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers import AutoencoderTiny

from ttsnap.errors import BadInput
from ttsnap.models.checks import DIFFUSERS, check_weights
from ttsnap.models.latents import TINY
from ttsnap.models.weights import check_finite, quiet_libraries
from ttsnap.storage.files import one_line


def open_look_decoder(path: str | Path, dtype: torch.dtype, device) -> AutoencoderTiny:
    """Open a diffusers folder (or hub id) of safetensors, frozen. Raises BadInput where no weight may be made up."""
    where = f"look decoder {path}"
    look_decoder_config(path, where)
    if Path(path).is_dir():
        check_weights(Path(path), DIFFUSERS)
    try:
        with quiet_libraries(), warnings.catch_warnings():  # torch_dtype: the name that all of diffusers < 1 knows
            warnings.simplefilter("ignore", FutureWarning)
            decoder, keys = AutoencoderTiny.from_pretrained(
                str(path), use_safetensors=True, output_loading_info=True, torch_dtype=dtype
            )
    except Exception as error:  # a foreign folder can be broken in any way
        raise BadInput(f"{where}: does not open ({type(error).__name__}: {one_line(error)})") from error
    for tensor in sorted(keys["missing_keys"]):
        raise BadInput(f"{where}: {tensor} is missing; download it again")
    for tensor in sorted(keys["unexpected_keys"]):
        raise BadInput(f"{where}: {tensor} is not of this model; its config is of another")
    check_finite(where, decoder)
    return decoder.to(device).eval().requires_grad_(False)


def look_decoder_config(path: str | Path, where: str) -> dict:
    """The config of an AutoencoderTiny. Raises BadInput, beginning with `where`, where there is none."""
    folder = Path(path).is_dir()
    if not folder and (str(path).count("/") != 1 or str(path)[0] in "./~"):
        raise BadInput(f"{where}: no such folder; name one of an {TINY}, or a hub id like madebyollin/taesdxl")
    try:
        config = dict(AutoencoderTiny.load_config(str(path)))
        found = config.get("_class_name")
    except (OSError, ValueError, TypeError):
        place = "this folder" if folder else "a folder or hub model of this name"
        raise BadInput(f"{where}: no readable config.json in {place}; name that of an {TINY}") from None
    if found != TINY:
        raise BadInput(f"{where}: this is a {found}; expected {TINY}")
    return config


def check_look_decoder(decoder: AutoencoderTiny, pipe, name: str) -> None:
    """Raise BadInput unless it turns the latents of the pipeline's VAE into images of the same size."""
    if not isinstance(decoder, AutoencoderTiny):
        raise BadInput(f"look decoder {name}: this is a {type(decoder).__name__}; expected {TINY}")
    config, vae = decoder.config, pipe.vae.config
    for what, found, expected in (
        ("channels of latents", config.latent_channels, vae.latent_channels),
        ("pixels per latent", pixels_per_latent(config), pipe.vae_scale_factor),
        ("channels of images", config.out_channels, vae.out_channels),
    ):
        if found != expected:
            raise BadInput(f"look decoder {name}: {found} {what}, the model's VAE has {expected}; name one made for it")


def pixels_per_latent(config: Mapping) -> int:
    """By how much an AutoencoderTiny enlarges: all blocks of its decoder but the last end with an upsampling."""
    return config["upsampling_scaling_factor"] ** (len(config["decoder_block_out_channels"]) - 1)
