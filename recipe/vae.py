"""The autoencoder of the shapes world: 64×64×3 pixels to 16×16×4 latents, with a small decoder."""

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

from recipe.training import train
from ttsnap.shapes.captions import random_caption
from ttsnap.shapes.world import dense, place, render

STEPS, POOL = 1800, 6144  # training steps, captioned scenes that are drawn


def build() -> AutoencoderKL:
    """The untrained autoencoder (0.65 M parameters)."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        sample_size=64,
        block_out_channels=(16, 32, 64),
        layers_per_block=1,
        norm_num_groups=8,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        mid_block_add_attention=False,
    )


def pictures(rng: np.random.Generator, n: int, part: str = "train") -> torch.Tensor:
    """n drawn scenes, uint8 [n,3,64,64]: one to three objects in turn."""
    blocks = []
    for start in range(0, n, 512):
        count = min(512, n - start)
        captions = [random_caption(rng, 1 + i % 3, part) for i in range(count)]
        blocks.append((render(place(rng, captions)) * 255 + 0.5).to(torch.uint8))
    return torch.cat(blocks)


def train_vae(
    steps: int, seed: int, device: str, pool: int = POOL, state: Path | None = None
) -> tuple[AutoencoderKL, dict]:
    """Train on captioned and crowded scenes with L1 + 2·MSE + 1e-5·KL; returns the model and its figures."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    crowd = [(render(dense(rng, 512)) * 255 + 0.5).to(torch.uint8) for _ in range(-(-pool // 512))]
    data = torch.cat([pictures(rng, pool), *crowd])
    test = pictures(np.random.default_rng(seed + 1), 192, "held_out").to(device).float() / 127.5 - 1
    vae = build().to(device, memory_format=torch.channels_last)

    def loss(step: int) -> torch.Tensor:
        x = data[torch.randint(len(data), (32,))].to(device).float() / 127.5 - 1
        x = x.roll(torch.randint(64, (2,)).tolist(), (2, 3)).to(memory_format=torch.channels_last)
        posterior = vae.encode(x).latent_dist
        error = vae.decode(posterior.sample()).sample.float() - x
        return error.abs().mean() + 2 * error.square().mean() + 1e-5 * posterior.kl().mean()

    how = dict(steps=steps, lr=2e-3, seed=seed, ema=0.998, device=device, state=state)
    seconds = train(vae, loss, name="vae", **how)
    with torch.no_grad():
        latents = vae.encode(test).latent_dist.mean
    vae.register_to_config(scaling_factor=round(1 / latents.std().item(), 4))
    figures = {"held_out_psnr_db": held_out_psnr(vae, test), "seconds": seconds, "steps": steps}
    return vae, figures


@torch.no_grad()
def held_out_psnr(vae: AutoencoderKL, images: torch.Tensor) -> float:
    """Reconstruction PSNR in dB of images in [-1,1]."""
    y = vae.decode(vae.encode(images).latent_dist.mean).sample.clamp(-1, 1)
    return float(-10 * torch.log10(((y - images) / 2).square().mean()))
