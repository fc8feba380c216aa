"""One generator measured against the original: reconstruction of targets, fresh samples, drift."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

from ttsnap.errors import BadInput, TtsnapError
from ttsnap.settings.kinds import Checker
from ttsnap.sft.classifier import load_classifier
from ttsnap.sft.generator import Generator, base_noise
from ttsnap.sft.metrics import frechet_distance, generate_images, reconstruction_figures, to_bytes
from ttsnap.sft.records import Assigned, read_assigned
from ttsnap.shapes.checkers import checker as checker_of
from ttsnap.storage.files import replacing
from ttsnap.storage.provenance import check_same

SHOWN = 12  # images of each kind that are kept for the grids

# Images [n, C, H, W] in [0, 1] → their features [n, D], and their most likely classes [n] where it knows classes
Judge = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor | None]]


@dataclass(frozen=True)
class Comparison:
    """What was measured.

    figures     {"train", "test": reconstruction, "fresh": quality, "drift": MSE to the original's images}
    images      a few of each kind, uint8 [≤ 12, H, W, C]
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
    """Targets with the noise assigned for the generator `model`; BadInput where it was assigned for another version."""
    found, again = read_assigned([path]), "assign noise for this very model"
    check_same(path, found.made_from, model, {"model": version}, again, only=("model",))
    return found


def compare(
    model: Generator,
    base: Generator,
    targets: Mapping[str, Assigned],
    judge: Judge,
    *,
    real: torch.Tensor | None = None,
    fresh: int = 500,
    checker: Checker | None = None,
    seed: int = 0,
) -> Comparison:
    """Measure `model` against `base`, the original.

    targets: the "train" and the "test" ones, with noise assigned for the model. real: images [n, C, H, W] in [0, 1]
    that fresh samples are compared with; None: the train targets. fresh: how many samples of random noise, of the
    conditions of the train targets in turn. Raises TtsnapError for a model whose images are not finite.
    """
    figures, images = {}, {}
    for split, data in targets.items():
        made = generate_images(model, data.noise, model.embed(data.conditions))
        pixels = data.pixels()
        figures[split] = reconstruction_figures(made, pixels, data.losses)
        images[f"{split}_target"] = to_bytes(pixels[:SHOWN])
        images[f"{split}_image"] = to_bytes(made[:SHOWN])
    real = targets["train"].pixels() if real is None else real
    conditions = _in_turn(targets["train"].conditions, fresh)
    noise = base_noise(model, seed, [f"fresh {n}" for n in range(fresh)])
    samples = generate_images(model, noise, model.embed(conditions))
    if not torch.isfinite(samples).all():
        raise TtsnapError(f"{model.version}: makes images that are not finite; lower its rate")
    original = generate_images(base, noise, base.embed(conditions))
    figures["fresh"] = _quality(model, samples, conditions, real, judge, checker)
    figures["drift"] = float((samples - original).square().mean())
    images["fresh"] = to_bytes(samples[:SHOWN])
    shown = {split: data.conditions[:SHOWN] for split, data in targets.items()}
    return Comparison(figures, images, shown | {"fresh": conditions[:SHOWN]})


def _in_turn(conditions: list[str], count: int) -> list[str]:
    """`count` conditions, each distinct one as often as any other."""
    distinct = sorted(set(conditions))
    return [distinct[n % len(distinct)] for n in range(count)]


def _quality(model, samples, conditions, real, judge: Judge, checker: Checker | None) -> dict:
    """What the judge and the checker say of fresh samples."""
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


def classifier_judge(path: str, data: str | None = None) -> Judge:
    """The classifier in a file as a judge; data: the name of the data set that it must have been trained on."""
    net = load_classifier(path)
    if data not in (None, net.data):
        raise BadInput(f"--classifier: {path} was trained on {net.data}, --data is {data}")
    return net.read


def clip_judge(path: str) -> Judge:
    """The image features of a CLIP folder as a judge; it knows no classes."""
    from ttsnap.rewards.clip import ClipReward

    reward = ClipReward(path).eval()

    @torch.inference_mode()
    def read(images: torch.Tensor):
        parts = [reward.image_features(reward.preprocess(part)) for part in images.split(128)]
        return torch.cat(parts), None

    return read
