"""The text-to-image model of the shapes world: a StableDiffusionXLPipeline of five million parameters."""

from dataclasses import dataclass

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from ttsnap.shapes.captions import random_caption
from ttsnap.shapes.tokenizer import MAX_LENGTH, build_tokenizer
from ttsnap.shapes.training import train
from ttsnap.shapes.world import place, render

WIDTH = 64  # of each text encoder
TIME_IDS = (64, 64, 0, 0, 64, 64)  # original size, crop corner, target size: always the same here


def build(vae: AutoencoderKL) -> StableDiffusionXLPipeline:
    """The untrained pipeline around a trained autoencoder."""
    tokenizer = build_tokenizer()
    text = dict(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        projection_dim=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=MAX_LENGTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    unet = UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        block_out_channels=(64, 128),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D",) * 2,
        up_block_types=("CrossAttnUpBlock2D",) * 2,
        cross_attention_dim=2 * WIDTH,
        attention_head_dim=(2, 4),
        use_linear_projection=True,
        norm_num_groups=16,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=WIDTH + 6 * 8,
    )
    scheduler = EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.008,  # less noise than SDXL's: 16×16 latents hold little redundancy, layout shows early
        beta_schedule="scaled_linear",
        # Without it the layout shines through the last noise in training, and the text is not asked for it.
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
        unet=unet,
        scheduler=scheduler,
        force_zeros_for_empty_prompt=True,
        add_watermarker=False,
    )


BATCH, POOL = 64, 24_576  # images per step, scenes drawn for each round


@dataclass(frozen=True)
class Round:
    """One run of the training loop: warm-up and cosine decay from `lr`, on scenes mixed as `mix` says."""

    steps: int
    lr: float
    mix: tuple[float, float, float]  # shares of scenes with one, two, three objects


ROUNDS = [
    Round(1500, 1.2e-3, (0.15, 0.35, 0.5)),
    Round(800, 8e-4, (0.1, 0.75, 0.15)),
    Round(700, 8e-4, (0.1, 0.8, 0.1)),
]


class Denoiser(nn.Module):
    """UNet and both text encoders under one roof, so that one optimiser trains them together."""

    def __init__(self, pipeline: StableDiffusionXLPipeline):
        super().__init__()
        self.unet = pipeline.unet
        self.text, self.text_2 = pipeline.text_encoder, pipeline.text_encoder_2
        self.register_buffer("alphas", pipeline.scheduler.alphas_cumprod, persistent=False)

    def embed(self, ids: torch.Tensor, keep: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """SDXL's prompt embeddings: second-last hidden states side by side, and the pooled projection."""
        one = self.text(ids, output_hidden_states=True)
        two = self.text_2(ids, output_hidden_states=True)
        hidden = torch.cat([one.hidden_states[-2], two.hidden_states[-2]], dim=-1)
        return hidden * keep[:, None, None], two.text_embeds * keep[:, None]

    def loss(self, x0: torch.Tensor, ids: torch.Tensor, dropout: float = 0.1) -> torch.Tensor:
        """v-prediction MSE, timesteps with density ∝ t; a dropped caption is all zeros, as the pipeline makes it."""
        n = len(x0)
        keep = (torch.rand(n, device=x0.device) >= dropout).float()
        hidden, pooled = self.embed(ids, keep)
        t = (torch.rand(n, device=x0.device).sqrt() * len(self.alphas)).long()
        alpha = self.alphas[t].sqrt()[:, None, None, None]
        sigma = (1 - self.alphas[t]).sqrt()[:, None, None, None]
        noise = torch.randn_like(x0)
        time_ids = torch.tensor([TIME_IDS], device=x0.device, dtype=torch.float32).expand(n, -1)
        added = {"text_embeds": pooled, "time_ids": time_ids}
        v = self.unet(alpha * x0 + sigma * noise, t, hidden, added_cond_kwargs=added).sample
        return (v.float() - (alpha * noise - sigma * x0)).square().mean()


@torch.no_grad()
def latent_pool(
    vae: AutoencoderKL, rng: np.random.Generator, n: int, mix: tuple, device: str
) -> tuple[torch.Tensor, list[str]]:
    """n training scenes as scaled latents, with their captions; `mix`: shares with one, two, three objects."""
    latents, texts = [], []
    for start in range(0, n, 512):
        counts = rng.choice([1, 2, 3], p=mix, size=min(512, n - start))
        captions = [random_caption(rng, int(k)) for k in counts]
        images = render(place(rng, captions), device) * 2 - 1
        with torch.autocast(torch.device(device).type, torch.bfloat16):
            mean = vae.encode(images).latent_dist.mean
        latents.append(mean.float() * vae.config.scaling_factor)
        texts += [c.text() for c in captions]
    return torch.cat(latents), texts


def train_generator(
    vae: AutoencoderKL,
    rounds: list[Round],
    seed: int,
    device: str,
    start: StableDiffusionXLPipeline | None = None,
    pool: int = POOL,
) -> tuple[StableDiffusionXLPipeline, dict]:
    """Train UNet and text encoders, from nothing or from `start`; returns the pipeline (EMA) and its figures."""
    vae = vae.to(device).eval()
    pipeline, total = start or build(vae), 0.0
    pad = dict(padding="max_length", truncation=True, max_length=MAX_LENGTH, return_tensors="pt")
    for number, part in enumerate(rounds):
        torch.manual_seed(seed + number)
        rng = np.random.default_rng([seed, number])
        latents, texts = latent_pool(vae, rng, pool, part.mix, device)
        ids = pipeline.tokenizer(texts, **pad).input_ids.to(device)
        model = Denoiser(pipeline).to(device)

        def loss(step: int, model=model, latents=latents, ids=ids):
            index = torch.randint(len(latents), (BATCH,), device=device)
            return model.loss(latents[index], ids[index]), {}

        kept, seconds = train(model, loss, steps=part.steps, lr=part.lr, ema=0.999, device=device)
        pipeline.register_modules(
            unet=kept.unet, text_encoder=kept.text, text_encoder_2=kept.text_2
        )
        pipeline.unet.requires_grad_(True)
        pipeline.text_encoder.requires_grad_(True)
        pipeline.text_encoder_2.requires_grad_(True)
        total += seconds
    recipe = "; ".join(f"{r.steps} at {r.lr:g} on a mix of {r.mix}" for r in rounds)
    return pipeline, {"seconds": total, "recipe": recipe, "batch": BATCH}
