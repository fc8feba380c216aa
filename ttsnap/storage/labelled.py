"""The images of one step of several shards, with their labels: the base rewards of their final images."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ttsnap.errors import BadInput
from ttsnap.storage.image_shards import read_shards
from ttsnap.storage.prompts import overlap
from ttsnap.storage.provenance import check_same
from ttsnap.storage.scores import check_images, join_scores

KEPT = 512  # prompts whose images stay in memory; the others are read again every epoch


@dataclass(frozen=True)
class Labelled:
    """Images of P prompts × C candidates with their labels.

    images      images(p) reads the images of prompt p: uint8 [C,H,W,3]
    labels      float32 [P,C]
    attributes  what labels and images were made from, and the `digests` of the images
    file        the first label file, for messages
    """

    prompts: list[str]
    images: Callable[[int], np.ndarray]
    labels: np.ndarray
    attributes: dict
    file: str


def read_labelled(images: Sequence[str], labels: Sequence[str], level: int) -> Labelled:
    """The images of step `level` of image shards, read on demand, and their labels.

    labels: one score file of the base reward per shard; its last step must be the final one. Raises BadInput for
    shards without the level, and for labels of other images.
    """
    if len(images) != len(labels):
        raise BadInput(f"{len(images)} image shards and {len(labels)} label files; give one for each")
    shards, scores = read_shards(images), join_scores(labels, "base")
    for shard in shards:
        if level not in shard.steps:
            raise BadInput(f"--level: {level}, but {shard.path} holds images of steps {shard.steps} only")
    where = [(shard, p) for shard in shards for p in range(len(shard.prompts))]
    prompts, digests = [s.prompts[p] for s, p in where], [s.digests[p] for s, p in where]
    check_images(labels[0], scores, images[0], shards[0].attributes, prompts, digests)
    last = shards[0].attributes.get("steps", scores.steps[-1] + 1) - 1
    if scores.steps[-1] != last:
        raise BadInput(f"{labels[0]}: holds no rewards of the final step {last}; run label")
    return Labelled(
        scores.prompts,
        functools.lru_cache(maxsize=KEPT)(lambda p: where[p][0].images(level, where[p][1])),
        np.ascontiguousarray(scores.values[:, :, -1]),
        scores.attributes | {"digests": scores.digests},
        labels[0],
    )


def check_held_out(validation: Labelled, train: Labelled) -> None:
    """Raise BadInput unless the sets were made alike and share no prompt."""
    check_same(
        validation.file,
        validation.attributes,
        train.file,
        train.attributes,
        "generate and label both alike",
        only=("made_from", "images"),
        apart_from=("images.seed",),
    )
    if same := overlap(train.prompts, validation.prompts):
        raise BadInput(f"--validation-images: {same[1][:60]!r} is also trained on, as {same[0][:60]!r}; hold it out")
