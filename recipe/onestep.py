"""The one-step pipeline of the shapes world, distilled from the tiny SDXL: noise to image in one evaluation.

The teacher's sampler is deterministic, so its final latents are a function of noise and caption. The student, the
teacher with a LoRA, learns that function by regression (Luhman & Luhman 2021, knowledge distillation), guidance
included. It is kept as Hyper-SD is published: the teacher's own files and the LoRA beside them.
"""

import os
from pathlib import Path

import numpy as np
import torch
from peft import get_peft_model_state_dict
from tqdm import tqdm

from recipe.codes import draw_captions
from recipe.training import train
from ttsnap.samplers import candidate_seed
from ttsnap.sft.generator import rows
from ttsnap.sft.pipeline import OneStepPipeline
from ttsnap.training.weights import trainable

SAMPLES, STEPS, BATCH, LR, RANK = 5120, 2000, 64, 1e-3, 24
LORA = "shapes-onestep-lora.safetensors"
MIX = (0.25, 0.5, 0.25)  # shares of captions with one, two, three objects

CARD = """---
library_name: diffusers
pipeline_tag: text-to-image
license: mit
---
# shapes-onestep

shapes-sdxl in one step: a StableDiffusionXLPipeline whose UNet makes the image of a caption in a single evaluation,
without guidance, as SDXL Turbo does. The files of its parts are those of shapes-sdxl (links); the LoRA makes it
one-step.

**Data.** {samples} pairs of noise and final latents of shapes-sdxl ({teacher_steps} steps, guidance {guidance}), of
captions with one, two and three objects in shares {mix}; held-out captions occur nowhere.

**Recipe.** Regression (MSE of latents) from shapes-sdxl's weights: a LoRA of rank {rank} on every linear layer and
convolution of the UNet, AdamW {lr}, cosine decay, EMA 0.999, bf16 autocast, {steps} steps of {batch}. Stored as fp16.
Seed {seed}.

**Time.** {data_seconds:.0f} s for the data, {seconds:.0f} s of training on {device}.

**Measured.** Held-out captions, {tested} samples: MSE to the teacher's latents {held_out_mse:.4f} (variance of those
{held_out_variance:.4f}). Accepted by the checker: {accepted_1:.0%} with one object, {accepted_2:.0%} with two,
{accepted_3:.0%} with three.

**Use.** `embedded:shapes-onestep` wherever ttsnap takes a one-step model. With diffusers alone:
`pipe = StableDiffusionXLPipeline.from_pretrained(folder)`, `pipe.load_lora_weights(folder, weight_name="{lora}")`,
`pipe(prompt, height=64, width=64, num_inference_steps=1, guidance_scale=0)`. Trained again by
`python -m recipe train-shapes onestep`.
"""


def captions(rng: np.random.Generator, count: int, part: str = "train") -> list[str]:
    """Captions with one, two and three objects in the shares MIX."""
    return [caption.text() for caption in draw_captions(rng, count, MIX, part)]


@torch.inference_mode()
def teach(sampler, texts: list[str], seed: int, batch_size: int = 128):
    """The teacher's (noise, final latents) [n, C, h, w], one candidate a caption, on its device."""
    noises, finals = [], []
    scale = sampler.init_noise_sigma
    for at in tqdm(range(0, len(texts), batch_size), desc="teacher", mininterval=10):
        part = texts[at : at + batch_size]
        known = {text: sampler.encode(text) for text in dict.fromkeys(part)}
        condition = sampler.join([known[text] for text in part])
        latents = sampler.init([candidate_seed(seed, t, at + n) for n, t in enumerate(part)])
        noises.append(latents / scale)
        denoised = None
        for step in range(sampler.steps):
            latents, denoised = sampler.step(step, latents, condition, denoised)
        finals.append(latents)
    return torch.cat(noises), torch.cat(finals)


def distil(
    student: OneStepPipeline,
    noise: torch.Tensor,
    latents: torch.Tensor,
    texts: list[str],
    *,
    steps: int = STEPS,
    seed: int = 0,
    state: Path | None = None,
) -> dict:
    """Train a LoRA of the student's UNet on the teacher's pairs, in place; returns figures.

    noise, latents [n, C, h, w]; texts: their captions.
    """
    torch.manual_seed(seed)
    device, batch = str(student.device), min(BATCH, len(noise))
    condition = student.embed(texts)
    trainable(student.module, {"rank": RANK, "alpha": RANK})

    def loss(step: int) -> torch.Tensor:
        index = torch.randint(len(noise), (batch,), device=noise.device)
        found = student.latents(noise[index], rows(condition, index))
        return (found - latents[index]).square().mean()

    how = dict(steps=steps, lr=LR, seed=seed, ema=0.999, device=device, state=state)
    seconds = train(student.module, loss, name="onestep", **how)
    return {"steps": steps, "batch": batch, "lr": LR, "rank": RANK, "seconds": seconds}


def save(student: OneStepPipeline, teacher: Path, folder: Path) -> None:
    """Write a distilled student: links to the files of its teacher's folder and the LoRA, as fp16."""
    for file in teacher.rglob("*"):
        link = folder / file.relative_to(teacher)
        if file.is_file() and file.name != "README.md":
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(os.path.relpath(file, link.parent))
    lora = {k: v.half().contiguous() for k, v in get_peft_model_state_dict(student.module).items()}
    student.sampler.pipe.save_lora_weights(folder, unet_lora_layers=lora, weight_name=LORA)


@torch.inference_mode()
def error(student: OneStepPipeline, noise, latents, texts: list[str], batch_size: int = 128) -> float:
    """MSE between the student's and the teacher's latents."""
    total = 0.0
    for at in range(0, len(texts), batch_size):
        part = slice(at, at + batch_size)
        found = student.latents(noise[part], student.embed(texts[part]))
        total += float((found - latents[part]).square().flatten(1).mean(1).sum())
    return total / len(texts)
