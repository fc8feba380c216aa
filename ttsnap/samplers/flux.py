"""FLUX.1 and models of its shape: flow matching on packed latents, guidance as an embedding."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
from diffusers.pipelines.flux.pipeline_flux import calculate_shift

from ttsnap.errors import BadInput
from ttsnap.samplers.base import Sampler, warn_if_cut


class FluxCondition(NamedTuple):
    """One prompt, n = 1, or one for each of n rows."""

    embeds: torch.Tensor  # [n, tokens, width]
    pooled: torch.Tensor  # [n, width]
    text_ids: torch.Tensor  # [tokens, 3]
    guidance: torch.Tensor | None  # [1], where the transformer has a guidance embedding


class FluxSampler(Sampler):
    """Sampling of a FluxPipeline. Latents are packed: [n, (h/2)·(w/2), 4·C]."""

    family = "flux"
    pipeline_class = FluxPipeline
    denoiser_class = FluxTransformer2DModel
    denoiser_name = "transformer"
    patch = 2
    text_tokens = 512  # FluxPipeline's max_sequence_length

    def describe(self) -> dict:
        """As for any sampler, but guidance 0 without a guidance embedding (FLUX.1-schnell), where it has no effect."""
        return super().describe() | ({} if self.denoiser.config.guidance_embeds else {"guidance": 0.0})

    @torch.no_grad()
    def encode(self, prompt: str) -> FluxCondition:
        """Embed one prompt with both text encoders."""
        with warn_if_cut(self.pipe.tokenizer_2, self.text_tokens, prompt):
            embeds, pooled, text_ids = self.pipe.encode_prompt(
                prompt, device=self.device, max_sequence_length=self.text_tokens
            )
        guided = self.denoiser.config.guidance_embeds
        guidance = torch.tensor([self.guidance], device=self.device) if guided else None
        return FluxCondition(embeds, pooled, text_ids, guidance)

    def join(self, conditions: Sequence[FluxCondition]) -> FluxCondition:
        """The conditions of n prompts as one, with a row for each."""
        rows = {part: torch.cat([getattr(c, part) for c in conditions]) for part in ("embeds", "pooled")}
        return conditions[0]._replace(**rows)

    def init(self, seeds: Sequence[int]) -> torch.Tensor:
        """The first latents, packed noise: row i is a function of seeds[i] alone."""
        return pack(self._noise(seeds, self.denoiser.config.in_channels // 4))

    def step(
        self, s: int, latents: torch.Tensor, condition: FluxCondition, previous: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """One evaluation at σ_s: (next latents, Tweedie latents x − σ·v), packed, float32."""
        n, dtype = len(latents), self.denoiser.dtype
        guidance = condition.guidance
        velocity = self.denoiser(
            hidden_states=latents.to(dtype),
            timestep=self.timesteps[s].to(dtype).expand(n) / 1000,
            guidance=None if guidance is None else guidance.expand(n),
            pooled_projections=condition.pooled.to(dtype).expand(n, -1),
            encoder_hidden_states=condition.embeds.to(dtype).expand(n, -1, -1),
            txt_ids=condition.text_ids.to(dtype),
            img_ids=self._image_ids(dtype),
            return_dict=False,
        )[0]
        denoised = latents.float() - self.sigmas[s] * velocity.float()
        return self._advance(s, latents.float(), denoised, previous)

    def _scheduler(self, steps: int, changes: dict) -> FlowMatchEulerDiscreteScheduler:
        """The schedule as FluxPipeline sets it, for any solver: shifted by the number of image tokens (μ)."""
        if steps < 1:
            raise BadInput(f"steps: {steps} is less than 1")
        scheduler = FlowMatchEulerDiscreteScheduler.from_config(
            self.pipe.scheduler.config, stochastic_sampling=False, invert_sigmas=False, **changes
        )
        config = scheduler.config
        mu = calculate_shift(
            len(self._image_ids(torch.float32)),
            config.get("base_image_seq_len", 256),
            config.get("max_image_seq_len", 4096),
            config.get("base_shift", 0.5),
            config.get("max_shift", 1.15),
        )
        sigmas = None if config.get("use_flow_sigmas") else np.linspace(1.0, 1 / steps, steps)
        scheduler.set_timesteps(steps, sigmas=sigmas, mu=mu, device=self.device)
        return scheduler

    def _grid(self) -> tuple[int, int]:
        """Rows and columns of image tokens."""
        scale = self.patch * self.pipe.vae_scale_factor
        return self.height // scale, self.width // scale

    def _image_ids(self, dtype: torch.dtype) -> torch.Tensor:
        """(0, row, column) of every image token, [tokens, 3]."""
        rows, columns = (torch.arange(size, device=self.device) for size in self._grid())
        return torch.cartesian_prod(rows.new_zeros(1), rows, columns).to(dtype)

    def _to_vae(self, latents: torch.Tensor) -> torch.Tensor:
        return unpack(latents, *self._grid())


def pack(latents: torch.Tensor) -> torch.Tensor:
    """[n, C, 2r, 2c] → [n, r·c, 4C]: every 2×2 patch is a token."""
    n, channels, height, width = latents.shape
    patches = latents.view(n, channels, height // 2, 2, width // 2, 2)
    return patches.permute(0, 2, 4, 1, 3, 5).reshape(n, -1, 4 * channels)


def unpack(latents: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """[n, rows·columns, 4C] → [n, C, 2·rows, 2·columns]: the inverse of `pack`."""
    n, _, channels = latents.shape
    patches = latents.view(n, rows, columns, channels // 4, 2, 2)
    return patches.permute(0, 3, 1, 4, 2, 5).reshape(n, channels // 4, 2 * rows, 2 * columns)
