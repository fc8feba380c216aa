"""Rewards on a CLIP model: PickScore (image and text) and an aesthetic head (image alone)."""

import functools
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
from transformers import AutoTokenizer, CLIPImageProcessor, CLIPModel

from ttsnap.errors import BadInput
from ttsnap.models import model_version, resolve
from ttsnap.rewards.base import Reward


def precise(layer: nn.Module, values: torch.Tensor) -> torch.Tensor:
    """A last layer outside autocast: bfloat16 there would round rewards of one prompt to ties."""
    with torch.autocast(values.device.type, enabled=False):
        return layer(values.to(next(layer.parameters()).dtype))


class ClipReward(Reward):
    """The CLIP both rewards stand on: its preprocessing, and unit-length features."""

    def __init__(self, path: str):
        super().__init__()
        folder = resolve(path)
        try:
            self.clip = CLIPModel.from_pretrained(folder, dtype=torch.float32)
            self.tokenizer = AutoTokenizer.from_pretrained(folder)
            processor = CLIPImageProcessor.from_pretrained(folder)
        except (OSError, ValueError) as error:
            raise BadInput(f"no CLIP model at {path}: {str(error).splitlines()[0]}") from error
        self.image_size = self.clip.config.vision_config.image_size
        self.mean, self.std = tuple(processor.image_mean), tuple(processor.image_std)
        self.version = model_version(folder)
        self._tokens = functools.lru_cache(maxsize=100_000)(self._encode)

    def _encode(self, prompt: str) -> tuple[int, ...]:
        length = self.clip.config.text_config.max_position_embeddings
        kept = self.tokenizer(prompt, padding="max_length", truncation=True, max_length=length)
        return tuple(kept["input_ids"])

    def image_features(self, pixels: torch.Tensor) -> torch.Tensor:
        """Unit-length image features [n,d]."""
        pooled = self.clip.vision_model(pixel_values=pixels).pooler_output
        return nn.functional.normalize(precise(self.clip.visual_projection, pooled), dim=-1)

    def text_features(self, prompts: list[str]) -> torch.Tensor:
        """Unit-length text features [n,d]; a prompt that occurs often is encoded once."""
        distinct = list(dict.fromkeys(prompts))
        device = self.clip.logit_scale.device
        ids = torch.tensor([self._tokens(p) for p in distinct], device=device)
        first_end = (ids == self.tokenizer.eos_token_id).int().argmax(dim=-1)
        positions = torch.arange(ids.shape[1], device=device)
        mask = (positions[None] <= first_end[:, None]).long()
        pooled = self.clip.text_model(input_ids=ids, attention_mask=mask).pooler_output
        features = nn.functional.normalize(precise(self.clip.text_projection, pooled), dim=-1)
        places = {prompt: place for place, prompt in enumerate(distinct)}
        return features[[places[p] for p in prompts]]


class PickScore(ClipReward):
    """exp(logit scale) · cos(image, text), as PickScore (arXiv 2305.01569) computes it."""

    name = "pickscore"

    def score(self, pixels: torch.Tensor, prompts: list[str]) -> torch.Tensor:
        cosine = (self.image_features(pixels) * self.text_features(prompts)).sum(-1)
        return self.clip.logit_scale.exp() * cosine


class Aesthetic(ClipReward):
    """An MLP on CLIP's image features: a preference that reads no prompt (LAION's aesthetic predictor)."""

    name = "aesthetic"

    def __init__(self, path: str, head: str):
        super().__init__(path)
        weights = load_file(resolve(head))
        hidden, features = weights["0.weight"].shape
        self.head = nn.Sequential(nn.Linear(features, hidden), nn.GELU(), nn.Linear(hidden, 1))
        self.head.load_state_dict(weights)
        self.version += "+" + Path(head).stem

    def score(self, pixels: torch.Tensor, prompts: list[str]) -> torch.Tensor:
        return precise(self.head, self.image_features(pixels))[:, 0]
