"""ImageReward (arXiv 2304.05977) on transformers' BLIP classes, which the published weights' names are mapped to."""

import functools
import re
from pathlib import Path

import torch
from transformers import BertTokenizer, BlipTextConfig, BlipVisionConfig, BlipVisionModel
from transformers.models.blip.modeling_blip_text import BlipTextModel

from ttsnap.errors import BadInput, warn_cut
from ttsnap.models import model_version, resolve
from ttsnap.pruning.units import REWARD_UNITS
from ttsnap.rewards.base import Reward
from ttsnap.rewards.clip import OPENAI_MEAN, OPENAI_STD, linear_head, precise
from ttsnap.rewards.weights import fill, read_architecture, read_weights

MEAN, STD = 0.16717362830052426, 1.0333394966054072  # of the raw values, as published
PROMPT_TOKENS = 35
HEAD_WIDTH = 64  # of the image tower's attention, in every size BLIP has
# Names of the image tower: published → transformers.
VISION_NAMES = [
    (r"^patch_embed\.proj\.", "embeddings.patch_embedding."),
    (r"^cls_token$", "embeddings.class_embedding"),
    (r"^pos_embed$", "embeddings.position_embedding"),
    (r"^norm\.", "post_layernorm."),
    (r"^blocks\.(\d+)\.norm(\d)\.", r"encoder.layers.\1.layer_norm\2."),
    (r"^blocks\.(\d+)\.attn\.proj\.", r"encoder.layers.\1.self_attn.projection."),
    (r"^blocks\.(\d+)\.attn\.", r"encoder.layers.\1.self_attn."),
    (r"^blocks\.(\d+)\.", r"encoder.layers.\1."),
]
# Parts of the published file that its score does not use.
UNUSED = r"^blip\.(vision_proj|text_proj)\.|position_ids$"


class ImageReward(Reward):
    """(MLP(first text token, having attended to the image) − 0.167) / 1.033, as the published score.

    Nothing here is random in training: the published drop-outs are left out.
    """

    name = "imagereward"
    mean, std = OPENAI_MEAN, OPENAI_STD
    fit = "crop-torchvision"
    raw = (STD, MEAN)
    units = REWARD_UNITS["imagereward"]

    def __init__(self, path: str = "models/ImageReward", file: str = "ImageReward.pt"):
        """path: a folder with the weights `file`, BLIP's med_config.json and BERT's vocab.txt."""
        super().__init__()
        folder, hint = Path(resolve(path)), "ttsnap download --only ImageReward puts it under models/"
        weights = folder / file
        state = {name: v for name, v in read_weights(weights, hint).items() if not re.search(UNUSED, name)}
        vision = {vision_name(n): v for n, v in _part(state, "blip.visual_encoder.").items()}
        text, head = _part(state, "blip.text_encoder."), _part(state, "mlp.layers.")
        rest = [n for n in state if not n.startswith(("blip.visual_encoder.", "blip.text_encoder.", "mlp."))]
        if rest or not (vision and text and head):
            raise BadInput(f"{weights}: not ImageReward's weights ({(rest or ['a part is missing'])[0]})")
        with torch.device("meta"):
            self.vision = BlipVisionModel(vision_config(vision, weights))
            self.text = text_model(read_architecture(folder / "med_config.json"), self.vision.config.hidden_size)
        fill(self.vision, vision, weights)
        fill(self.text, text, weights)
        self.text.embeddings.position_ids = torch.arange(self.text.config.max_position_embeddings)[None]
        self.head = linear_head(head, weights, "none")
        self.image_size = self.vision.config.image_size
        self.version = model_version(folder, (file, "med_config.json", "vocab.txt"))
        self.tokenizer = bert_tokenizer(folder / "vocab.txt", hint)
        words, known = len(self.tokenizer), self.text.config.vocab_size
        if words != known:  # the last two words would get wrong numbers
            raise BadInput(f"{folder / 'vocab.txt'}: {words} words, the weights know {known}; download it again")
        self._tokens = functools.lru_cache(maxsize=100_000)(self._encode)

    def _encode(self, prompt: str) -> tuple[list[int], list[int]]:
        tokens = len(self.tokenizer(prompt, verbose=False).input_ids)
        warn_cut(prompt, tokens, PROMPT_TOKENS, f"the reward {self.name}")
        kept = self.tokenizer(prompt, padding="max_length", truncation=True, max_length=PROMPT_TOKENS)
        return kept["input_ids"], kept["attention_mask"]

    def score(self, pixels: torch.Tensor, prompts: list[str]) -> torch.Tensor:
        ids, mask = (torch.tensor(part, device=pixels.device) for part in zip(*map(self._tokens, prompts), strict=True))
        seen = self.vision(pixel_values=pixels).last_hidden_state
        read = self.text(input_ids=ids, attention_mask=mask, encoder_hidden_states=seen).last_hidden_state
        return (precise(self.head, read[:, 0])[:, 0] - MEAN) / STD


def vision_name(name: str) -> str:
    """transformers' name of a tensor of the published image tower."""
    return next((re.sub(pattern, ours, name) for pattern, ours in VISION_NAMES if re.search(pattern, name)), name)


def vision_config(state: dict, path: Path) -> BlipVisionConfig:
    """The image tower's sizes, read from its weights (published: ViT-L/16 at 224 pixels)."""
    try:
        width, _, patch, _ = state["embeddings.patch_embedding.weight"].shape
        tokens = state["embeddings.position_embedding"].shape[1]
        inner = state["encoder.layers.0.mlp.fc1.weight"].shape[0]
    except (KeyError, ValueError) as error:
        raise BadInput(f"{path}: the image tower's {error} is missing; not ImageReward's weights") from None
    layers = 1 + max(int(n.split(".")[2]) for n in state if n.startswith("encoder.layers."))
    return BlipVisionConfig(
        hidden_size=width,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=width // HEAD_WIDTH,
        image_size=patch * round((tokens - 1) ** 0.5),
        patch_size=patch,
        layer_norm_eps=1e-6,
    )


def text_model(med: dict, image_width: int) -> BlipTextModel:
    """BLIP's text encoder with attention to the image, from the published med_config.json."""
    names = (
        "vocab_size hidden_size intermediate_size num_hidden_layers num_attention_heads "
        "max_position_embeddings hidden_act layer_norm_eps pad_token_id"
    ).split()
    config = BlipTextConfig(
        **{name: med[name] for name in names if name in med},
        encoder_hidden_size=image_width,
        is_decoder=True,  # transformers' switch for cross-attention
        attn_implementation="eager",
    )
    return BlipTextModel(config, add_pooling_layer=False)


def bert_tokenizer(vocab: Path, hint: str) -> BertTokenizer:
    """BERT's uncased tokenizer with BLIP's two extra words, as in ImageReward."""
    if not vocab.is_file():
        raise BadInput(f"{vocab}: no such file; {hint}")
    tokenizer = BertTokenizer(vocab=str(vocab), do_lower_case=True)
    tokenizer.add_special_tokens({"bos_token": "[DEC]"})
    tokenizer.add_tokens(["[ENC]"], special_tokens=True)
    return tokenizer


def _part(state: dict, prefix: str) -> dict:
    return {n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)}
