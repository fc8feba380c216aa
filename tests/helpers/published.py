"""Small random weights in the layout that the published rewards have, made without a network."""

import json
import re
import string
from pathlib import Path

import open_clip
import torch
from transformers import BlipVisionConfig, BlipVisionModel

from ttsnap.rewards.imagereward import text_model

SMALL_CLIP = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 28, "layers": 2, "width": 64, "head_width": 32, "patch_size": 14},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
MED = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "max_position_embeddings": 40,
    "layer_norm_eps": 1e-12,
    "hidden_act": "gelu",
    "pad_token_id": 0,
}
# transformers' names of the image tower → the published ones
PUBLISHED_NAMES = [
    ("embeddings.patch_embedding", "patch_embed.proj"),
    ("embeddings.class_embedding", "cls_token"),
    ("embeddings.position_embedding", "pos_embed"),
    ("post_layernorm", "norm"),
    ("self_attn.projection", "attn.proj"),
    ("self_attn", "attn"),
    ("layer_norm", "norm"),
    ("encoder.layers", "blocks"),
]


def lively(state: dict, seed: int = 0) -> dict:
    """The same names with random values large enough for scores to differ."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(value.shape, generator=generator) * (0.3 if value.ndim > 1 else 0.1)
        + (1.0 if value.ndim == 1 and name.endswith("weight") else 0.0)
        for name, value in state.items()
        if value.is_floating_point()
    }


def hpsv2(folder: Path, seed: int = 0) -> dict:
    """HPS_v2.1_compressed.pt and architecture.json in `folder`; returns the options that open them."""
    folder.mkdir(parents=True, exist_ok=True)
    state = lively(open_clip.CLIP(**SMALL_CLIP).state_dict(), seed)
    torch.save({"state_dict": state}, folder / "HPS_v2.1_compressed.pt")
    (folder / "architecture.json").write_text(json.dumps(SMALL_CLIP))
    return {"path": str(folder), "architecture": str(folder / "architecture.json")}


def imagereward(folder: Path, seed: int = 0) -> dict:
    """ImageReward.pt, med_config.json and vocab.txt in `folder`; returns the options that open them."""
    folder.mkdir(parents=True, exist_ok=True)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = string.ascii_lowercase + string.digits + string.punctuation
    words = [*special, *letters, *(f"##{letter}" for letter in letters)]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    med = MED | {"vocab_size": len(words) + 2}
    (folder / "med_config.json").write_text(json.dumps(med))
    vision = BlipVisionModel(
        BlipVisionConfig(
            hidden_size=64,
            intermediate_size=96,
            num_hidden_layers=2,
            num_attention_heads=1,
            image_size=32,
            patch_size=16,
        )
    ).state_dict()
    state = {}
    for name, value in vision.items():
        for ours, theirs in PUBLISHED_NAMES:
            name = name.replace(ours, theirs)
        state[f"blip.visual_encoder.{name}"] = value
    for name, value in text_model(med, 64).state_dict().items():
        state[f"blip.text_encoder.{name}"] = value
    widths = (32, 16, 8, 8, 4, 1)
    for number, (a, b) in zip((0, 2, 4, 6, 7), zip(widths, widths[1:], strict=False), strict=True):
        state |= {f"mlp.layers.{number}.weight": torch.zeros(b, a), f"mlp.layers.{number}.bias": torch.zeros(b)}
    state = lively(state, seed)
    state["blip.text_encoder.embeddings.position_ids"] = torch.arange(40)[None]
    state["blip.vision_proj.weight"] = torch.zeros(8, 64)
    assert not any(re.search("self_attn|layernorm", name) for name in state if "visual" in name)
    torch.save(state, folder / "ImageReward.pt")
    return {"path": str(folder)}


def laion_head(path: Path, relu: bool = False, width: int = 64) -> Path:
    """An aesthetic head as LAION publishes them: linear alone, or with ReLU."""
    widths = (width, 16, 8, 8, 4, 1)
    numbers = (0, 3, 6, 9, 11) if relu else (0, 2, 4, 6, 7)
    generator, state = torch.Generator().manual_seed(3), {}
    for number, (a, b) in zip(numbers, zip(widths, widths[1:], strict=False), strict=True):
        state[f"layers.{number}.weight"] = torch.randn(b, a, generator=generator) / a**0.5
        state[f"layers.{number}.bias"] = torch.randn(b, generator=generator) / 4
    torch.save(state, path)
    return path
