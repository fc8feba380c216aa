"""The generator that is shipped: a UNet of two fifths of the teacher's cost, which needs no guidance.

It learns what the teacher predicts with classifier-free guidance (Meng et al. 2023, arXiv 2210.03142, Section 3.1, for
one value of the guidance), so that an evaluation is one pass and not two. VAE, text encoders and scheduler are the
teacher's own.
"""

import time
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionXLPipeline
from tqdm import tqdm

from recipe.codes import MIX
from recipe.generator import BATCH, POOL, Denoiser, build_unet, caption_ids, latent_pool
from recipe.training import train

CHANNELS, HEADS = (48, 64, 96), (2, 4, 6)
GUIDANCE, NOISES = 2.0, 6  # of the teacher's predictions; noisy versions of each scene
STEPS, LR = 4000, 1.5e-3


@torch.no_grad()
def guided_predictions(teacher: Denoiser, latents: torch.Tensor, ids: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """For noisy versions of the latents [n, C, h, w]: timesteps [n], noisy latents, the teacher's guided v (fp16).

    v = v(∅) + GUIDANCE·(v(caption) − v(∅)) (arXiv 2207.12598; scale as in arXiv 2205.11487, Equation 2).
    """
    found = []
    for at in tqdm(range(0, len(latents), BATCH), desc="teacher", mininterval=10):
        t, x, _ = teacher.noisy(latents[at : at + BATCH])
        part, keep = ids[at : at + BATCH], torch.ones(len(x), device=x.device)
        without = teacher.predict(x, t, part, 0 * keep)
        found.append((t, x.half(), (without + GUIDANCE * (teacher.predict(x, t, part, keep) - without)).half()))
    return tuple(torch.cat(parts) for parts in zip(*found, strict=True))


def train_student(
    pipeline: StableDiffusionXLPipeline,
    seed: int,
    device: str,
    *,
    steps: int = STEPS,
    pool: int = POOL,
    states: Path | None = None,
) -> dict:
    """Put a trained student in the place of the UNet of `pipeline`, the teacher; returns figures.

    pool: how many training scenes; states: folder of the state to resume from.
    """
    torch.manual_seed(seed)
    began = time.monotonic()
    pipeline.to(device)
    latents, captions = latent_pool(pipeline.vae, np.random.default_rng([seed, 3]), pool, MIX, device)
    ids = caption_ids(pipeline.tokenizer, captions).to(device)
    teacher = Denoiser(pipeline).to(device).eval()
    seen = torch.arange(pool * NOISES, device=device) % pool
    t, x, v = guided_predictions(teacher, latents[seen], ids[seen])
    figures = {"predictions": len(t), "data_seconds": time.monotonic() - began}
    torch.manual_seed(seed)
    pipeline.register_modules(unet=build_unet(CHANNELS, HEADS).to(device))
    student = Denoiser(pipeline).to(device).requires_grad_(False)
    student.unet.requires_grad_(True)

    def loss(step: int) -> torch.Tensor:
        index = torch.randint(len(t), (BATCH,), device=device)
        keep = torch.ones(BATCH, device=device)
        found = student.predict(x[index].float(), t[index], ids[seen[index]], keep)
        return (found - v[index].float()).square().mean()

    state = states and states / "student.state"
    seconds = train(student, loss, name="student", steps=steps, lr=LR, seed=seed, ema=0.999, device=device, state=state)
    return figures | {"steps": steps, "lr": LR, "seconds": seconds}
