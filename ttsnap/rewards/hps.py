"""HPSv2.0 and HPSv2.1 (arXiv 2306.09341): open_clip's ViT-H-14 with the weights of either version."""

import functools
from pathlib import Path

import open_clip
import torch
from open_clip.tokenizer import SimpleTokenizer
from torch import nn

from ttsnap.errors import BadInput, warn_cut
from ttsnap.models import model_version, resolve
from ttsnap.models.assets import HPS_FILES
from ttsnap.pruning.units import REWARD_UNITS
from ttsnap.rewards.base import Reward
from ttsnap.rewards.clip import OPENAI_MEAN, OPENAI_STD, distinct_rows
from ttsnap.rewards.weights import fill, read_architecture, read_weights


class HPSv2(Reward):
    """cos(image, text); × 100 is what papers report."""

    name = "hpsv2"
    mean, std = OPENAI_MEAN, OPENAI_STD
    fit = "pad"
    units = REWARD_UNITS["hpsv2"]

    def __init__(self, path: str = "models/HPSv2", version: str = "v2.1", architecture: str = "ViT-H-14"):
        """path: the weights, or their folder, where `version` (v2.0 or v2.1) names the file.

        architecture: its name in open_clip, or a JSON file of its `embed_dim`, `vision_cfg`, `text_cfg`.
        """
        super().__init__()
        if version not in HPS_FILES:
            raise BadInput(f"version: {version!r} is not one of {', '.join(HPS_FILES)}")
        file = Path(resolve(path))
        file = file if file.suffix == ".pt" else file / HPS_FILES[version]
        state = read_weights(file, f"ttsnap download --only HPSv2 --hps-version {version} puts it under models/")
        self.clip = build(architecture)
        fill(self.clip, state, file)
        length = self.clip.context_length
        causal = torch.full((length, length), float("-inf")).triu_(1)  # the weights do not hold this buffer
        self.clip.register_buffer("attn_mask", causal, persistent=False)
        with_linear_attention(self.clip)
        self.image_size = self.clip.visual.image_size[0]
        self.version = model_version(file)
        self.tokenizer = SimpleTokenizer(context_length=length)
        self._tokens = functools.lru_cache(maxsize=100_000)(self._encode)

    def _encode(self, prompt: str) -> list[int]:
        tokens = len(self.tokenizer.encode(prompt)) + 2  # start and end
        warn_cut(prompt, tokens, self.clip.context_length, f"the reward {self.name}")
        return self.tokenizer(prompt)[0].tolist()

    def score(self, pixels: torch.Tensor, prompts: list[str]) -> torch.Tensor:
        distinct, rows = distinct_rows(prompts)
        tokens = torch.tensor([self._tokens(p) for p in distinct], device=pixels.device)
        text = self.clip.encode_text(tokens).float()
        image = self.clip.encode_image(pixels).float()
        return nn.functional.cosine_similarity(image, text[rows])


def with_linear_attention(model: nn.Module) -> nn.Module:
    """Replace torch's attention by `Attention`, in place; returns the model."""
    for module in list(model.modules()):
        if isinstance(getattr(module, "attn", None), nn.MultiheadAttention):
            module.attn = Attention(module.attn)
    return model


class Attention(nn.Module):
    """Self-attention with an nn.MultiheadAttention's weights in linear layers, which adapters can wrap."""

    def __init__(self, published: nn.MultiheadAttention):
        super().__init__()
        self.heads = published.num_heads
        width = published.embed_dim
        with torch.device("meta"):
            self.in_proj, self.out_proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.in_proj.weight, self.in_proj.bias = published.in_proj_weight, published.in_proj_bias
        self.out_proj.weight, self.out_proj.bias = published.out_proj.weight, published.out_proj.bias

    def forward(self, x, key, value, need_weights=False, attn_mask=None):
        """x [n,tokens,width] is also key and value; returns that shape in a tuple, like torch's."""
        parts = self.in_proj(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        out = nn.functional.scaled_dot_product_attention(*parts, attn_mask=attn_mask)
        return (self.out_proj(out.transpose(1, 2).flatten(2)),)


def build(architecture: str) -> open_clip.CLIP:
    """The model on the meta device: shapes without values. Raises BadInput for an unknown architecture."""
    read = read_architecture if architecture.endswith(".json") else open_clip.get_model_config
    config = read(architecture)
    try:
        with torch.device("meta"):
            return open_clip.CLIP(**config)
    except (TypeError, AttributeError) as error:
        raise BadInput(f"architecture: {architecture} is not one that open_clip knows ({error})") from None
