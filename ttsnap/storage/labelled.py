"""The images of one look of several shards, with their labels: the base rewards of their final images."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ttsnap.errors import BadInput
from ttsnap.pruning.schedule import Look, look_names
from ttsnap.storage.image_shards import Shard, read_shards
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


def read_labelled(images: Sequence[str], labels: Sequence[str], level: Look) -> Labelled:
    """The images of the look `level` of image shards, read on demand, and their labels.

    labels: one score file of the base reward per shard; its last step must be the final one. Raises BadInput for
    shards without the level, and for labels of other images.
    """
    if len(images) != len(labels):
        raise BadInput(f"{len(images)} image shards and {len(labels)} label files; give one for each")
    shards, scores = read_shards(images), join_scores(labels, "base")
    for shard in shards:
        if level not in shard.looks:
            raise BadInput(f"--level: {level}, but {shard.path} holds images of {look_names(shard.looks)} only")
    where = [(shard, p) for shard in shards for p in range(len(shard.prompts))]
    prompts, digests = [s.prompts[p] for s, p in where], [s.digests[p] for s, p in where]
    of_draft = isinstance(level, str)  # of the same candidates as the images that were labelled
    check_images(labels[0], scores, images[0], shards[0].attributes, prompts, None if of_draft else digests)
    if of_draft and shards[0].candidates != scores.values.shape[1]:
        raise BadInput(
            f"{images[0]}: {shards[0].candidates} candidates, {labels[0]} has {scores.values.shape[1]}; "
            "make drafts of all candidates"
        )
    last = shards[0].attributes.get("steps", 1 + (-1 if scores.of_drafts else scores.looks[-1])) - 1
    if scores.looks[-1] != last:
        raise BadInput(f"{labels[0]}: holds no rewards of the final step {last}; run label")
    return Labelled(
        scores.prompts,
        functools.lru_cache(maxsize=KEPT)(lambda p: where[p][0].images(level, where[p][1])),
        np.ascontiguousarray(scores.values[:, :, -1]),
        scores.attributes | {"images": _made_from(shards[0], level), "digests": digests},
        labels[0],
    )


def _made_from(shard: Shard, level: Look) -> dict:
    """What made a shard's images of one look: of the drafts, only this one."""
    drafts = {"drafts": {level: shard.attributes["drafts"][level]}} if isinstance(level, str) else {}
    return shard.attributes | drafts


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
