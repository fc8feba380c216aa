"""The one-step pipeline of the shapes world: noise to image in one evaluation.

The generator's sampler is deterministic, so its final latents are a function of noise and caption. The student, the
generator with a LoRA, learns that function by regression (Luhman & Luhman 2021, knowledge distillation): it is the
second method's finetuning, on the very noise that each target was made from. It is kept as Hyper-SD is published: the
generator's own files and the LoRA beside them.
"""

import os
import time
from pathlib import Path

import numpy as np
import torch
from peft import get_peft_model_state_dict
from tqdm import tqdm

from recipe.codes import draw_captions
from ttsnap.samplers import Sampler, candidate_seed, run, to_bytes
from ttsnap.settings.sft import Train
from ttsnap.sft.pipeline import OneStepPipeline
from ttsnap.sft.records import Assigned
from ttsnap.sft.train import Trainer

SAMPLES, EPOCHS, BATCH, LR, RANK = 10_240, 15, 64, 1e-3, 32
LORA = "shapes-onestep-lora.safetensors"
MIX = (0.15, 0.35, 0.5)  # shares of captions with one, two, three objects

CARD = """---
library_name: diffusers
pipeline_tag: text-to-image
license: mit
---
# shapes-onestep

shapes-sdxl in one step: a StableDiffusionXLPipeline whose UNet makes the image of a caption in a single evaluation,
without guidance, as SDXL Turbo does. The files of its parts are those of shapes-sdxl (links); the LoRA makes it
one-step.

**Data.** {samples} images of shapes-sdxl ({teacher_steps} steps) and the noise they were made from, of captions with
one, two and three objects in shares {mix}; held-out captions occur nowhere.

**Recipe.** The second method's finetuning (`ttsnap sft --noise paired`) from shapes-sdxl's weights: MSE between the
one-step latents of the noise and those that the VAE encodes of the image; a LoRA of rank {rank} on every linear layer
and convolution of the UNet, AdamW {lr}, EMA 0.999, {updates} updates of {batch}. Stored as fp16. Seed {seed}.

**Time.** {data_seconds:.0f} s for the data, {seconds:.0f} s of training on {device}.

**Measured.** Accepted by the checker, held-out captions, 192 images each: {accepted_1:.0%} with one object,
{accepted_2:.0%} with two, {accepted_3:.0%} with three. As drafts of shapes-sdxl, on {prompts} held-out captions with
three objects × {candidates} candidates: Kendall's τ within a caption between shapes-clip's reward of the one-step image
and of the full run's is {tau:.3f}.

**Use.** `embedded:shapes-onestep` wherever ttsnap takes a one-step model. With diffusers alone:
`pipe = StableDiffusionXLPipeline.from_pretrained(folder)`, `pipe.load_lora_weights(folder, weight_name="{lora}")`,
`pipe(prompt, height=64, width=64, num_inference_steps=1, guidance_scale=0)`. Trained again by
`python -m recipe train-shapes onestep`.
"""


def captions(rng: np.random.Generator, count: int, part: str = "train") -> list[str]:
    """Captions with one, two and three objects in the shares MIX."""
    return [caption.text() for caption in draw_captions(rng, count, MIX, part)]


@torch.inference_mode()
def targets(sampler: Sampler, texts: list[str], seed: int, at_once: int = 128) -> Assigned:
    """The generator's images of captions, one each, with the noise that they were made from."""
    seeds = [candidate_seed(seed, text, number) for number, text in enumerate(texts)]
    images = []
    for at in tqdm(range(0, len(texts), at_once), desc="targets", mininterval=10):
        part = slice(at, at + at_once)
        known = {text: sampler.encode(text) for text in dict.fromkeys(texts[part])}
        final, _ = run(sampler, [known[text] for text in texts[part]], seeds[part])
        images.append(to_bytes(sampler.decode(final), texts[part]).permute(0, 2, 3, 1).cpu())
    noise = (sampler.init(seeds) / sampler.init_noise_sigma).cpu()
    keys, losses = [str(number) for number in range(len(texts))], [0.0] * len(texts)
    return Assigned(keys, texts, losses, noise, noise, torch.cat(images), noise, {}, seeds)


def distil(student: OneStepPipeline, data: Assigned, *, epochs: int, seed: int, state: Path | None = None) -> dict:
    """Train a LoRA of the student's UNet on the targets and their noise, in place; returns figures."""
    lora = {"rank": RANK, "alpha": RANK}
    of_latents = dict(latent=1.0, pixel=0.0, preserve_latent=0.0)
    settings = Train(lr=LR, epochs=epochs, batch_size=BATCH, ema=0.999, lora=lora, **of_latents).model_dump()
    trainer = Trainer(student, student, data, settings, noise="paired", seed=seed)
    began = time.monotonic()
    updates = len(trainer.run(state)["total"])
    trainer.average.write()
    student.module.requires_grad_(False)
    return {"updates": updates, "batch": BATCH, "lr": LR, "rank": RANK, "seconds": time.monotonic() - began}


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
