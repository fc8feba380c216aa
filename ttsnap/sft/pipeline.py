"""A diffusers pipeline as a one-step generator."""

import json
import shutil
from pathlib import Path

import torch

from ttsnap.errors import BadInput
from ttsnap.models import model_version
from ttsnap.models.checks import own_size
from ttsnap.samplers import load_sampler
from ttsnap.samplers.sdxl import SDXLSampler
from ttsnap.sft.generator import Generator


class OneStepPipeline(Generator):
    """A diffusers pipeline (SDXL Turbo, SD 1.5 Hyper-SD) in one step, without guidance; only its UNet is trained."""

    def __init__(self, path: str, size: int | None, device: str):
        size = size or _native_size(path)
        how = dict(steps=1, guidance=1.0, height=size, width=size, dtype="float32")
        self.sampler = load_sampler(path, device=device, **how)
        if not isinstance(self.sampler, SDXLSampler):
            raise BadInput(f"{path}: one-step finetuning takes SDXL or SD 1.5 pipelines")
        self.module = self.sampler.denoiser
        self.condition_type = type(self.sampler.encode(""))
        side = size // self.sampler.pipe.vae_scale_factor
        self.noise_shape = (self.module.config.in_channels, side, side)
        self.image_shape = (3, size, size)
        self.version = model_version(path)

    def embed(self, conditions):
        known = {prompt: self.sampler.encode(prompt) for prompt in dict.fromkeys(conditions)}
        return tuple(self.sampler.join([known[prompt] for prompt in conditions]))

    def latents(self, noise, condition):
        start = noise * self.sampler.init_noise_sigma
        return self.sampler.step(0, start, self.condition_type(*condition))[1]

    def pixels(self, latents):
        return self.sampler.decode(latents, clamp=False)

    @torch.no_grad()
    def encode(self, images):
        return self.sampler.encode_image(images)

    def save(self, folder):
        folder = Path(folder)
        new = folder.with_name(f".{folder.name}.new")
        shutil.rmtree(new, ignore_errors=True)
        self.sampler.pipe.save_pretrained(new)
        shutil.rmtree(folder, ignore_errors=True)
        new.rename(folder)


def _native_size(path: str) -> int:
    """The image side that the UNet was made for."""
    try:
        unet, vae = (json.loads((Path(path) / part / "config.json").read_text()) for part in ("unet", "vae"))
        scale = 2 ** (len(vae["block_out_channels"]) - 1)
        height, width = own_size({"sample_size": None} | unet, scale)
        if height != width:
            raise ValueError
        return height
    except (OSError, ValueError, KeyError, TypeError):
        raise BadInput(f"{path}: name the image side in pixels (--size)") from None
