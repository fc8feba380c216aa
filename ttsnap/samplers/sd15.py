"""Stable Diffusion 1.5 and models of its shape, such as Hyper-SD: one text encoder, no added conditions."""

from typing import NamedTuple

import torch
from diffusers import StableDiffusionPipeline

from ttsnap.samplers.base import warn_if_cut
from ttsnap.samplers.sdxl import SDXLSampler


class SD15Condition(NamedTuple):
    """One prompt; h = 2 (unconditional, conditional) with guidance > 1, else h = 1."""

    embeds: torch.Tensor  # [h, tokens, width]


class SD15Sampler(SDXLSampler):
    """Sampling of a StableDiffusionPipeline, as SDXL's."""

    family = "sd15"
    pipeline_class = StableDiffusionPipeline

    @property
    def text_tokens(self) -> int:
        """As many as the tokenizer gives."""
        return self.pipe.tokenizer.model_max_length

    @torch.no_grad()
    def encode(self, prompt: str) -> SD15Condition:
        """Embed one prompt, and the empty one for CFG."""
        guided = self.guidance > 1
        with warn_if_cut(self.pipe.tokenizer, self.text_tokens, prompt):
            embeds, no_embeds = self.pipe.encode_prompt(prompt, self.device, 1, guided)
        return SD15Condition(torch.cat([no_embeds, embeds]) if guided else embeds)

    def _conditioning(self, embeds: torch.Tensor) -> dict:
        return {"encoder_hidden_states": embeds}
