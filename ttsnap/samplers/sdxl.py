"""Stable Diffusion XL and models of its shape: ε- or v-prediction with classifier-free guidance."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel

from ttsnap.errors import BadInput
from ttsnap.samplers.base import Sampler, warn_if_cut
from ttsnap.samplers.solvers import DPMPP, SCHEDULERS


class SDXLCondition(NamedTuple):
    """One prompt; h = 2 (unconditional, conditional) with guidance > 1, else h = 1."""

    embeds: torch.Tensor  # [h, tokens, width]
    pooled: torch.Tensor  # [h, width]
    time_ids: torch.Tensor  # [h, 6]


class SDXLSampler(Sampler):
    """Sampling of a StableDiffusionXLPipeline.

    Latents are [n, C, h, w] scaled as EulerDiscreteScheduler does (x = x0 + σ·noise), whatever the solver.
    """

    family = "sdxl"
    pipeline_class = StableDiffusionXLPipeline
    denoiser_class = UNet2DConditionModel
    denoiser_name = "unet"

    @property
    def text_tokens(self) -> int:
        """As many as the tokenizers give."""
        return self.pipe.tokenizer_2.model_max_length

    @torch.no_grad()
    def encode(self, prompt: str) -> SDXLCondition:
        """Embed one prompt and, for CFG, the empty one (or zeros, as the pipeline's config says)."""
        guided = self.guidance > 1
        with warn_if_cut(self.pipe.tokenizer_2, self.text_tokens, prompt):
            embeds, no_embeds, pooled, no_pooled = self.pipe.encode_prompt(
                prompt, device=self.device, do_classifier_free_guidance=guided
            )
        if guided:
            embeds, pooled = torch.cat([no_embeds, embeds]), torch.cat([no_pooled, pooled])
        size = (self.height, self.width)
        time_ids = torch.tensor([[*size, 0, 0, *size]], dtype=embeds.dtype, device=self.device)
        return SDXLCondition(embeds, pooled, time_ids.expand(len(embeds), -1))

    def join(self, conditions: Sequence):
        """The conditions of n prompts as one: halves first, prompts within."""
        halves = range(2 if self.guidance > 1 else 1)
        columns = zip(*conditions, strict=True)  # the same part of every prompt
        joined = (torch.cat([part[h : h + 1] for h in halves for part in parts]) for parts in columns)
        return type(conditions[0])(*joined)

    def init(self, seeds: Sequence[int]) -> torch.Tensor:
        """The first latents [n, C, h, w]: row i is noise of seeds[i] times `init_noise_sigma`."""
        return self._noise(seeds, self.denoiser.config.in_channels) * self.init_noise_sigma

    @property
    def init_noise_sigma(self):
        """The scale of the first latents: that of Euler's scheduler; √(σ²+1) where the scheduler's latents have 1."""
        return self.scheduler.init_noise_sigma if self.solver == "euler" else (self.sigmas[0] ** 2 + 1) ** 0.5

    def step(
        self, s: int, latents: torch.Tensor, condition: SDXLCondition, previous: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """One guided evaluation at σ_s: (next latents, Tweedie latents), [n, C, h, w] float32."""
        n, halves, dtype = len(latents), 2 if self.guidance > 1 else 1, self.denoiser.dtype
        times = n * halves // len(condition.embeds)
        latents, sigma = latents.float(), self.sigmas[s]
        model_input = (latents / (sigma**2 + 1) ** 0.5).to(dtype).repeat(halves, 1, 1, 1)
        parts = (part.to(dtype).repeat_interleave(times, 0) for part in condition)
        conditioning = self._conditioning(*parts)
        output = self.denoiser(model_input, self.timesteps[s], **conditioning, return_dict=False)[0].float()
        if halves == 2:
            without, output = output.chunk(2)
            output = without + self.guidance * (output - without)
        denoised = tweedie(self.scheduler.config.prediction_type, output, latents, sigma)
        return self._advance(s, latents, denoised, previous)

    def _conditioning(self, embeds, pooled, time_ids) -> dict:
        """What the denoiser takes besides latents and timestep."""
        return {"encoder_hidden_states": embeds, "added_cond_kwargs": {"text_embeds": pooled, "time_ids": time_ids}}

    def _scheduler(self, steps: int, changes: dict):
        if self.asked["solver"] == "dpmpp_2m":  # by name, so not another DPM-Solver that the config describes
            changes = changes | DPMPP
        if steps == 1:  # One step must start from pure noise; other spacings would start it from nearly none.
            changes = changes | {"timestep_spacing": "trailing"}
        # The whole config is copied, defaults included: those of another class differ (betas, spacing). DDIM's own
        # default is to clip, which is for pixels.
        config = {k: v for k, v in self.pipe.scheduler.config.items() if k != "_use_default_values"}
        scheduler = SCHEDULERS[self.solver].from_config({"clip_sample": False} | config, **changes)
        most = scheduler.config.num_train_timesteps
        if not 1 <= steps <= most:
            raise BadInput(f"steps: {steps} is not between 1 and {most}")
        scheduler.set_timesteps(steps, device=self.device)
        return scheduler


def tweedie(prediction_type: str, output: torch.Tensor, x: torch.Tensor, sigma) -> torch.Tensor:
    """x̂0 from the model's output at x = x0 + σ·noise, shaped like `output`.

    ε: DDPM (arXiv 2006.11239), Eq. 15; v: Imagen Video (arXiv 2210.02303), Section 2.4. Raises BadInput for any other
    prediction type.
    """
    if prediction_type == "epsilon":
        return x - sigma * output
    if prediction_type == "v_prediction":
        return output * (-sigma / (sigma**2 + 1) ** 0.5) + x / (sigma**2 + 1)
    if prediction_type == "sample":
        return output
    raise BadInput(f"prediction_type {prediction_type!r} of the scheduler is not supported")
