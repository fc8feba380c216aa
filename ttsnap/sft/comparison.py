"""One generator measured against the original: reconstruction of targets, fresh samples, drift."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

from ttsnap.errors import BadInput, TtsnapError
from ttsnap.finetune.tau import kendall_tau
from ttsnap.settings.kinds import Checker
from ttsnap.sft.classifier import load_classifier
from ttsnap.sft.generator import Generator, base_noise
from ttsnap.sft.metrics import frechet_distance, generate_images, reconstruction_figures, to_bytes
from ttsnap.sft.records import Assigned, read_assigned
from ttsnap.shapes.checkers import checker as checker_of
from ttsnap.storage.files import replacing
from ttsnap.storage.provenance import check_same

SHOWN = 12  # images of each kind that are kept for the grids

# Images [n, C, H, W] in [0, 1] → features [n, D] and, where the judge knows classes, the most likely ones [n]
ImageJudge = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor | None]]


@dataclass(frozen=True)
class Comparison:
    """The figures, and a few images of each kind.

    figures     {"train", "test": reconstruction, "fresh": quality, "drift": MSE to the original's images, and "draft"
                where it is known what noise the test targets were made from}
    images      uint8 [≤ 12, H, W, C] by kind
    conditions  what those images show, by kind
    """

    figures: dict
    images: dict[str, np.ndarray]
    conditions: dict[str, list[str]]

    def save_images(self, path: str | Path) -> None:
        """Write the images (safetensors), with their conditions in the header."""
        with replacing(path) as temporary:
            save_file(self.images, temporary, metadata={"ttsnap": json.dumps(self.conditions)})


def read_probe(path: str | Path, model: str, version: str) -> Assigned:
    """Targets with the noise assigned for the generator `model`; BadInput if it was assigned for another version."""
    found = read_assigned([path])
    check_same(path, found.made_from, model, {"model": version}, "assign noise for this very model", only=("model",))
    return found


def compare(
    model: Generator,
    base: Generator,
    targets: Mapping[str, Assigned],
    judge: ImageJudge,
    *,
    real: torch.Tensor | None = None,
    fresh: int = 500,
    checker: Checker | None = None,
    seed: int = 0,
    reward: Callable | None = None,
) -> Comparison:
    """Measure `model` against `base`, the original.

    targets: those of "train" and "test", with noise assigned for the model. real: images [n, C, H, W] in [0, 1] to
    compare fresh samples with; None: the train targets. fresh: how many samples of random noise, of the conditions of
    the train targets in turn. reward(images, prompts): see `draft_figures`. Raises TtsnapError for a model whose images
    are not finite.
    """
    figures, images = {}, {}
    for split, data in targets.items():
        made = generate_images(model, data.noise, model.embed(data.conditions))
        pixels = data.pixels()
        figures[split] = reconstruction_figures(made, pixels, data.losses)
        images[f"{split}_target"] = to_bytes(pixels[:SHOWN])
        images[f"{split}_image"] = to_bytes(made[:SHOWN])
    real = targets["train"].pixels() if real is None else real
    distinct = sorted(set(targets["train"].conditions))
    conditions = [distinct[n % len(distinct)] for n in range(fresh)]
    noise = base_noise(model, seed, [f"fresh {n}" for n in range(fresh)])
    samples = generate_images(model, noise, model.embed(conditions))
    if not torch.isfinite(samples).all():
        raise TtsnapError(f"{model.version}: makes images that are not finite; lower its rate")
    original = generate_images(base, noise, base.embed(conditions))
    figures["fresh"] = _quality(model, samples, conditions, real, judge, checker)
    figures["drift"] = float((samples - original).square().mean())
    if reward is not None and None not in targets["test"].seeds:
        figures["draft"] = draft_figures(model, targets["test"], reward, checker)
    images["fresh"] = to_bytes(samples[:SHOWN])
    shown = {split: data.conditions[:SHOWN] for split, data in targets.items()}
    return Comparison(figures, images, shown | {"fresh": conditions[:SHOWN]})


def _quality(model, samples, conditions, real, judge: ImageJudge, checker: Checker | None) -> dict:
    """How the judge and the checker rate fresh samples."""
    (features, classes), (real_features, _) = judge(samples), judge(real)
    distance = frechet_distance(features.numpy(), real_features.numpy())
    found = {"samples": len(samples), "feature_distance": distance}
    if classes is not None:
        (labels,) = model.embed(conditions)
        found["class_accuracy"] = float((classes == labels.cpu()).float().mean())
    if checker:
        accepted, _ = checker_of(checker)(to_bytes(samples), conditions)
        found["accepted"] = float(accepted.mean())
    return found


def draft_figures(model: Generator, targets: Assigned, reward: Callable, checker: Checker | None) -> dict:
    """How well a generator drafts: its images of the very noise that the targets were made from.

    Kendall's τ between the rewards of its images and of the targets, within each prompt that has several, averaged; and
    the share that the checker accepts. reward(images [n, C, H, W], prompts) → [n].
    """
    made = generate_images(model, targets.base, model.embed(targets.conditions))
    values = [reward(images, targets.conditions) for images in (made, targets.pixels())]
    rows: dict[str, list[int]] = {}
    for row, prompt in enumerate(targets.conditions):
        rows.setdefault(prompt, []).append(row)
    taus = [kendall_tau(*(value[None, some] for value in values)) for some in rows.values() if len(some) > 1]
    found = {"samples": len(made), "prompts": len(taus)}
    if taus:
        found["tau"] = float(np.nan_to_num(taus).mean())
    if checker:
        found["accepted"] = float(checker_of(checker)(to_bytes(made), targets.conditions)[0].mean())
    return found


def clip_reward(path: str) -> Callable:
    """The reward of a CLIP folder: (images [n, C, H, W] in [0, 1], prompts) → float32 [n]."""
    from ttsnap.rewards.clip import ClipScore

    reward = ClipScore(path).eval()

    @torch.inference_mode()
    def read(images: torch.Tensor, prompts: list[str]) -> np.ndarray:
        parts = zip(images.split(128), (prompts[at : at + 128] for at in range(0, len(prompts), 128)), strict=True)
        return torch.cat([reward(part, texts) for part, texts in parts]).float().numpy()

    return read


def classifier_judge(path: str, data: str | None = None) -> ImageJudge:
    """The classifier in a file as a judge; data: the data set that it must have been trained on."""
    net = load_classifier(path)
    if data not in (None, net.data):
        raise BadInput(f"--classifier: {path} was trained on {net.data}, --data is {data}")
    return net.read


def clip_judge(path: str) -> ImageJudge:
    """The image features of a CLIP folder as a judge, which knows no classes."""
    from ttsnap.rewards.clip import ClipReward

    reward = ClipReward(path).eval()

    @torch.inference_mode()
    def read(images: torch.Tensor):
        parts = [reward.image_features(reward.preprocess(part)) for part in images.split(128)]
        return torch.cat(parts), None

    return read
