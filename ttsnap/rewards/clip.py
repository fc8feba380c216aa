"""Rewards on a CLIP model: CLIP score, PickScore, an aesthetic head on its image features, and their hybrid."""

import functools
import itertools
import math
from pathlib import Path

import torch
from torch import nn
from transformers import AutoTokenizer, CLIPImageProcessor, CLIPModel

from ttsnap.errors import BadInput, warn_cut
from ttsnap.models import model_version, resolve
from ttsnap.models.assets import how_to_get
from ttsnap.models.checks import check_tokenizer
from ttsnap.models.weights import check_finite, quiet_libraries
from ttsnap.rewards.base import Reward
from ttsnap.rewards.weights import fill, read_weights

OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)


def precise(layer: nn.Module, values: torch.Tensor) -> torch.Tensor:
    """A last layer outside autocast: in bfloat16, rewards of one prompt would round to ties."""
    with torch.autocast(values.device.type, enabled=False):
        return layer(values.to(next(layer.parameters()).dtype))


def open_folder(path: str, folder: str) -> tuple:
    """(model in float32, tokenizer, image processor) of a transformers CLIP folder or hub id; errors name `path`.

    Raises BadInput when there is none, its weights do not open, or lack a tensor, which transformers would make up.
    """
    hint = how_to_get(path)
    try:
        if hint and path.startswith("models/") and not Path(folder).is_dir():
            raise OSError  # not a hub id
        with quiet_libraries():
            model, found = CLIPModel.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
        parts = (AutoTokenizer.from_pretrained(folder), CLIPImageProcessor.from_pretrained(folder))
    except (OSError, ValueError) as error:
        raise BadInput(f"no CLIP model at {path}: {hint or str(error).splitlines()[0]}") from error
    except Exception as error:  # a foreign folder can be broken in any way
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise BadInput(f"{path}: its weights do not open ({reason}); download them again") from error
    if missing := sorted(found["missing_keys"]):
        raise BadInput(f"{path}: {missing[0]} is missing; these weights are of another model")
    check_finite(path, model)
    check_tokenizer(f"{path}: tokenizer", len(parts[0]), model.config.text_config.vocab_size)
    _check_processor(path, parts[1])
    return model, *parts


def _check_processor(path: str, processor: CLIPImageProcessor) -> None:
    """Refuse an image processor that does not normalise, which ours would."""
    try:
        values = [float(v) for v in (*processor.image_mean, *processor.image_std)]
        good = len(values) == 6 and all(map(math.isfinite, values)) and min(values[3:]) > 0
    except (TypeError, ValueError):
        good = False
    if not (good and processor.do_normalize and processor.do_rescale):
        raise BadInput(
            f"{path}: preprocessor_config.json: expected image_mean and image_std of three channels; download it again"
        )


class ClipReward(Reward):
    """The CLIP model that these rewards read images with: its preprocessing, and unit-length features."""

    def __init__(self, path: str):
        super().__init__()
        folder = resolve(path)
        self.clip, self.tokenizer, processor = open_folder(path, folder)
        self.image_size = self.clip.config.vision_config.image_size
        self.mean, self.std = tuple(processor.image_mean), tuple(processor.image_std)
        self.version = model_version(folder)
        self._tokens = functools.lru_cache(maxsize=100_000)(self._encode)

    def _encode(self, prompt: str) -> tuple[int, ...]:
        length = self.clip.config.text_config.max_position_embeddings
        warn_cut(prompt, len(self.tokenizer(prompt, verbose=False).input_ids), length, f"the reward {self.name}")
        return tuple(self.tokenizer(prompt, padding="max_length", truncation=True, max_length=length)["input_ids"])

    def image_features(self, pixels: torch.Tensor) -> torch.Tensor:
        """Unit-length image features [n,d]."""
        pooled = self.clip.vision_model(pixel_values=pixels).pooler_output
        return nn.functional.normalize(precise(self.clip.visual_projection, pooled), dim=-1)

    def text_features(self, prompts: list[str]) -> torch.Tensor:
        """Unit-length text features [n,d]; a repeated prompt is encoded once."""
        distinct, rows = distinct_rows(prompts)
        ids = torch.tensor([self._tokens(p) for p in distinct], device=self.clip.logit_scale.device)
        first_end = (ids == self.tokenizer.eos_token_id).int().argmax(dim=-1, keepdim=True)
        mask = (torch.arange(ids.shape[1], device=ids.device) <= first_end).long()
        pooled = self.clip.text_model(input_ids=ids, attention_mask=mask).pooler_output
        return nn.functional.normalize(precise(self.clip.text_projection, pooled), dim=-1)[rows]

    def cosine(self, pixels: torch.Tensor, prompts: list[str]) -> torch.Tensor:
        """cos(image, text), [n]."""
        return (self.image_features(pixels) * self.text_features(prompts)).sum(-1)


def distinct_rows(prompts: list[str]) -> tuple[list[str], list[int]]:
    """Each distinct prompt once, and the row of every prompt among them."""
    rows = {prompt: row for row, prompt in enumerate(dict.fromkeys(prompts))}
    return list(rows), [rows[prompt] for prompt in prompts]


class ClipScore(ClipReward):
    """cos(image, text), without CLIP's scale."""

    name = "clip"
    fit = "crop-torchvision"

    def score(self, pixels: torch.Tensor, prompts: list[str]) -> torch.Tensor:
        return self.cosine(pixels, prompts)


class PickScore(ClipReward):
    """exp(logit scale) · cos(image, text), as PickScore (arXiv 2305.01569) computes it."""

    name = "pickscore"

    def score(self, pixels: torch.Tensor, prompts: list[str]) -> torch.Tensor:
        return self.clip.logit_scale.exp() * self.cosine(pixels, prompts)


class Aesthetic(ClipReward):
    """An MLP on CLIP's image features: a preference that reads no prompt (LAION's aesthetic predictor)."""

    name = "aesthetic"
    fit = "crop-torchvision"

    def __init__(self, path: str, head: str, activation: str = "auto"):
        """head: weights of the MLP, ours or LAION's; activation between its layers (see `linear_head`)."""
        super().__init__(path)
        file = resolve(head)
        state = read_weights(file, "ttsnap download --only Aesthetic puts it under models/")
        self.head = linear_head(state, file, activation)
        self.version += "+" + model_version(file)

    def score(self, pixels: torch.Tensor, prompts: list[str]) -> torch.Tensor:
        return precise(self.head, self.image_features(pixels))[:, 0]


class Hybrid(Aesthetic):
    """aesthetic + weight · cos(image, text), from one reading of the image."""

    name = "hybrid"

    def __init__(self, path: str, head: str, activation: str = "auto", weight: float = 0.25):
        super().__init__(path, head, activation)
        self.weight = float(weight)

    def score(self, pixels: torch.Tensor, prompts: list[str]) -> torch.Tensor:
        image = self.image_features(pixels)
        cosine = (image * self.text_features(prompts)).sum(-1)
        return precise(self.head, image)[:, 0] + self.weight * cosine


ACTIVATIONS = {"none": nn.Identity, "relu": nn.ReLU, "gelu": nn.GELU}


def linear_head(state: dict[str, torch.Tensor], path: str | Path, activation: str) -> nn.Module:
    """Linear layers from their weights, numbered as in the Sequential they come from; drop-out is left out.

    activation "auto": LAION's files name their layers `layers.N`: 0, 2, 4, 6, 7 (linearMSE) have none between them,
    0, 3, 6, 9, 11 (reluMSE) ReLU; a single layer has none; our own heads GELU. Raises BadInput for anything else.
    """
    if set(state) == {"weight", "bias"}:
        state = {f"0.{name}": value for name, value in state.items()}
    numbered = {name.removeprefix("layers."): value for name, value in state.items()}
    try:
        numbers = sorted({int(name.split(".")[0]) for name in numbered})
        shapes = {n: numbered[f"{n}.weight"].shape for n in numbers}
    except (ValueError, KeyError) as error:
        raise BadInput(f"{path}: not the weights of linear layers ({error})") from None
    if activation == "auto":
        ours = not any(name.startswith("layers.") for name in state)
        activation = "gelu" if ours else "relu" if 3 in numbers else "none"
    if activation not in ACTIVATIONS:
        raise BadInput(f"activation: {activation!r} is not one of auto, {', '.join(ACTIVATIONS)}")
    layers: list[nn.Module] = [nn.Identity() for _ in range(numbers[-1] + 1)]
    for n in numbers:
        layers[n] = nn.Linear(*reversed(shapes[n]))
    for n, following in itertools.pairwise(numbers):
        if following > n + 1:
            layers[n + 1] = ACTIVATIONS[activation]()
    head = nn.Sequential(*layers)
    fill(head, numbered, path)
    return head
