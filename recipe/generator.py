"""The teacher of the shapes world's text-to-image models: a StableDiffusionXLPipeline of five million parameters."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from recipe.codes import CODE, MIX, Lesson, caption_code, draw_captions, teach_text
from recipe.tokenizer import MAX_LENGTH, build_tokenizer
from recipe.training import train
from ttsnap.rewards.groups import autocast
from ttsnap.shapes.captions import Caption
from ttsnap.shapes.world import place, render

WIDTH = 64  # of each text encoder
TIME_IDS = (64, 64, 0, 0, 64, 64)  # original size, crop corner, target size: always the same here


def build_unet(channels: tuple[int, ...], heads: tuple[int, ...]) -> UNet2DConditionModel:
    """An untrained UNet of some width at 16×16, 8×8, …; as in SDXL without attention at full size."""
    lower = len(channels) - 1
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        block_out_channels=channels,
        layers_per_block=1,
        down_block_types=("DownBlock2D", *("CrossAttnDownBlock2D",) * lower),
        up_block_types=(*("CrossAttnUpBlock2D",) * lower, "UpBlock2D"),
        cross_attention_dim=2 * WIDTH,
        attention_head_dim=heads,  # their number, in spite of the name
        use_linear_projection=True,
        norm_num_groups=16,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=WIDTH + 6 * 8,
    )


def build(vae: AutoencoderKL) -> StableDiffusionXLPipeline:
    """The untrained pipeline around a trained autoencoder."""
    tokenizer = build_tokenizer()
    text = dict(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        projection_dim=WIDTH,
        num_hidden_layers=4,
        num_attention_heads=4,
        max_position_embeddings=MAX_LENGTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    scheduler = EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.008,  # less noise than SDXL's: 16×16 latents hold little redundancy, layout shows early
        beta_schedule="scaled_linear",
        # Without it the layout shines through the last noise in training, and the text is not needed for it.
        rescale_betas_zero_snr=True,
        prediction_type="v_prediction",
        timestep_spacing="trailing",
    )
    return StableDiffusionXLPipeline(
        vae=vae,
        text_encoder=CLIPTextModel(CLIPTextConfig(**text)),
        text_encoder_2=CLIPTextModelWithProjection(CLIPTextConfig(**text)),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=build_unet((64, 128), (2, 4)),
        scheduler=scheduler,
        force_zeros_for_empty_prompt=True,
        add_watermarker=False,
    )


BATCH, POOL = 64, 24_576  # images per step, scenes drawn for each round
LESSON = 2000  # steps of the text encoders alone


@dataclass(frozen=True)
class Round:
    """One run of the training loop: warm-up and cosine decay from `lr`."""

    steps: int
    lr: float
    mix: tuple[float, float, float]  # shares of scenes with one, two, three objects
    floor: int = 0  # the least timestep
    lesson: float = 0.0  # weight of what captions say, beside the denoising


ROUNDS = [
    Round(3000, 1.2e-3, MIX),
    # The first round does not teach the sign of a relation: only in nearly pure noise is the text needed for it.
    Round(450, 1e-3, (0.0, 1.0, 0.0), floor=900, lesson=2.0),
    Round(1000, 1e-3, (0.1, 0.6, 0.3), lesson=0.5),
]


def pooled_and_hidden(tower: CLIPTextModelWithProjection, ids: torch.Tensor) -> list[torch.Tensor]:
    """What SDXL reads of a caption, at its end: the projection and the second-last hidden state."""
    out = tower(ids, output_hidden_states=True)
    end = (ids == tower.config.eos_token_id).int().argmax(-1)
    return [out.text_embeds, out.hidden_states[-2][torch.arange(len(ids)), end]]


def text_lesson(tower: CLIPTextModelWithProjection) -> Lesson:
    """The lesson of a text encoder, with a head for each of the two vectors that SDXL reads."""
    return Lesson(tower, pooled_and_hidden, [nn.Linear(WIDTH, CODE) for _ in range(2)])


class Denoiser(nn.Module):
    """UNet and both text encoders in one module, so that one optimiser trains them together."""

    def __init__(self, pipeline: StableDiffusionXLPipeline):
        super().__init__()
        self.unet = pipeline.unet
        self.text, self.text_2 = pipeline.text_encoder, pipeline.text_encoder_2
        self.lesson = text_lesson(self.text_2)
        self.register_buffer("alphas", pipeline.scheduler.alphas_cumprod, persistent=False)

    def embed(self, ids: torch.Tensor, keep: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """SDXL's prompt embeddings: second-last hidden states side by side, and the pooled projection."""
        first = self.text(ids, output_hidden_states=True)
        second = self.text_2(ids, output_hidden_states=True)
        hidden = torch.cat([first.hidden_states[-2], second.hidden_states[-2]], dim=-1)
        return hidden * keep[:, None, None], second.text_embeds * keep[:, None]

    def noisy(self, x0: torch.Tensor, floor: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Timesteps t, of a density that grows as t − floor; x0 with the noise of t; and the v of both."""
        share = torch.rand(len(x0), device=x0.device).sqrt()
        t = (floor + share * (len(self.alphas) - floor)).long()
        alpha = self.alphas[t].sqrt()[:, None, None, None]
        sigma = (1 - self.alphas[t]).sqrt()[:, None, None, None]
        noise = torch.randn_like(x0)
        return t, alpha * x0 + sigma * noise, alpha * noise - sigma * x0

    def predict(self, x: torch.Tensor, t: torch.Tensor, ids: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
        """The v that the UNet predicts, float32; without its caption (all zeros) where `keep` is 0."""
        hidden, pooled = self.embed(ids, keep)
        time_ids = torch.tensor([TIME_IDS], device=x.device, dtype=torch.float32).expand(len(x), -1)
        added = {"text_embeds": pooled, "time_ids": time_ids}
        return self.unet(x, t, hidden, added_cond_kwargs=added).sample.float()

    def loss(self, x0: torch.Tensor, ids: torch.Tensor, floor: int = 0, dropout: float = 0.1) -> torch.Tensor:
        """v-prediction MSE; a share `dropout` of the captions is dropped."""
        keep = (torch.rand(len(x0), device=x0.device) >= dropout).float()
        t, x, v = self.noisy(x0, floor)
        return (self.predict(x, t, ids, keep) - v).square().mean()


@torch.no_grad()
def latent_pool(
    vae: AutoencoderKL, rng: np.random.Generator, n: int, mix: tuple, device: str
) -> tuple[torch.Tensor, list[Caption]]:
    """n training scenes as scaled latents, with their captions; `mix`: shares with one, two, three objects."""
    latents, drawn = [], []
    for start in range(0, n, 512):
        captions = draw_captions(rng, min(512, n - start), mix)
        images = render(place(rng, captions), device) * 2 - 1
        with autocast(device):
            mean = vae.encode(images).latent_dist.mean
        latents.append(mean.float() * vae.config.scaling_factor)
        drawn += captions
    return torch.cat(latents), drawn


def caption_ids(tokenizer, captions: Sequence[Caption]) -> torch.Tensor:
    """Token ids [n, MAX_LENGTH]."""
    pad = dict(padding="max_length", truncation=True, max_length=MAX_LENGTH, return_tensors="pt")
    return tokenizer([c.text() for c in captions], **pad).input_ids


def taught(
    vae: AutoencoderKL, seed: int, device: str, steps: int, state: Path | None = None
) -> StableDiffusionXLPipeline:
    """A pipeline with trained text encoders and an untrained UNet."""
    pipeline = build(vae)
    tower = pipeline.text_encoder_2
    teach_text(text_lesson(tower), pipeline.tokenizer, steps=steps, seed=seed, device=device, state=state)
    pipeline.text_encoder.load_state_dict(tower.text_model.state_dict())
    return pipeline


def train_generator(
    vae: AutoencoderKL,
    seed: int,
    device: str,
    *,
    lesson: int = LESSON,
    rounds: Sequence[Round] = tuple(ROUNDS),
    pool: int = POOL,
    states: Path | None = None,
) -> tuple[StableDiffusionXLPipeline, dict]:
    """Teach the text encoders what captions say, then train them and the UNet; returns the pipeline (EMA), figures.

    states: folder of the states that a killed training resumes from.
    """
    torch.manual_seed(seed)
    began, vae = time.monotonic(), vae.to(device).eval()
    pipeline = taught(vae, seed, device, lesson, states and states / "captions.state")
    for number, part in enumerate(rounds):
        torch.manual_seed(seed + number)
        state = states and states / f"round{number}.state"
        model = _train_round(pipeline, part, np.random.default_rng([seed, number]), pool, seed + number, state)
        model.requires_grad_(True)
        pipeline.register_modules(unet=model.unet, text_encoder=model.text, text_encoder_2=model.text_2)
    description = "; ".join(
        f"{r.steps} steps at {r.lr:g} on shares {r.mix} of one, two, three objects, t ≥ {r.floor}" for r in rounds
    )
    seconds = time.monotonic() - began
    return pipeline, {"seconds": seconds, "lesson": lesson, "batch": BATCH, "rounds": description}


def _train_round(pipeline, part: Round, rng, pool: int, seed: int, state: Path | None) -> Denoiser:
    device = pipeline.vae.device
    latents, captions = latent_pool(pipeline.vae, rng, pool, part.mix, device)
    codes = torch.from_numpy(np.stack([caption_code(c) for c in captions])).to(device)
    ids = caption_ids(pipeline.tokenizer, captions).to(device)
    model = Denoiser(pipeline).to(device)

    def loss(step: int) -> torch.Tensor:
        index = torch.randint(len(latents), (BATCH,), device=device)
        value = model.loss(latents[index], ids[index], part.floor)
        if part.lesson:
            value = value + part.lesson * model.lesson.loss(ids[index], codes[index])
        return value

    how = dict(steps=part.steps, lr=part.lr, seed=seed, ema=0.999, device=str(device), state=state)
    train(model, loss, name="generator", **how)
    return model
