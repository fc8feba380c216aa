"""The score file: one reward, or the checker, on the images of one shard."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from ttsnap.errors import BadInput, TtsnapError, reads
from ttsnap.pruning.schedule import Look, look_name, look_names
from ttsnap.storage.files import replacing
from ttsnap.storage.image_shards import Shard, open_hdf5, read_header, write_looks
from ttsnap.storage.provenance import check_once, check_same

SCORES_SCHEMA = "ttsnap-scores-2"
SCORE_KINDS = {  # how messages call each
    "base": "values of a base reward",
    "noise_aware": "values of noise-aware checkpoints",
    "checker": "verdicts of a checker",
}


@dataclass
class Scores:
    """values float32 [P,C,K] at K looks, for P prompts: all of them steps, or all drafts.

    attributes: `kind` (one of SCORE_KINDS), `reward` and what it was made from, `images`: what made the images.
    digests: of each prompt's images, as in their shard.
    """

    values: np.ndarray
    looks: list[Look]
    prompts: list[str]
    attributes: dict
    digests: list[str]

    @property
    def of_drafts(self) -> bool:
        """Whether its looks are drafts."""
        return isinstance(self.looks[0], str)

    @classmethod
    def from_shard(cls, shard: Shard, values: np.ndarray, looks: list[Look], about: dict) -> "Scores":
        """Scores [P,C,K] of a shard's images, which record where those come from."""
        return cls(values, looks, shard.prompts, {**about, "images": shard.attributes}, shard.digests)


def write_scores(path: str | Path, scores: Scores) -> None:
    """Write a score file. Raises TtsnapError, naming prompt and look, when a value is not finite."""
    bad = np.argwhere(~np.isfinite(scores.values))
    if len(bad):
        prompt, candidate, at = bad[0]
        raise TtsnapError(
            f"{scores.attributes.get('reward')} gave {scores.values[tuple(bad[0])]} for prompt "
            f"{scores.prompts[prompt][:60]!r}, candidate {candidate}, {look_name(scores.looks[at])}; fix the reward"
        )
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["schema"] = SCORES_SCHEMA
        file.attrs["attributes"] = json.dumps(scores.attributes)
        file["values"] = scores.values.astype(np.float32)
        write_looks(file, scores.looks)
        file.create_dataset("prompts", data=scores.prompts, dtype=h5py.string_dtype("utf-8"))
        file["digests"] = np.array(scores.digests, "S16")


@reads("a ttsnap score file", "run score again")
def read_scores(path: str | Path) -> Scores:
    """Read a score file. Raises BadInput when it is incomplete or has another schema."""
    with open_hdf5(path) as file:
        if file.attrs.get("schema") != SCORES_SCHEMA:
            raise BadInput(f"{path}: not a score file of this version; run score again")
        scores = Scores(file["values"][:], **read_header(file))
    if scores.attributes.get("kind") not in SCORE_KINDS:
        raise BadInput(f"{path}: does not record which kind of scores it holds; run score again")
    return scores


def join_scores(paths: Sequence[str], kind: str) -> Scores:
    """Read and concatenate the score files of several shards.

    Raises BadInput for files of another kind (see SCORE_KINDS), with different settings, or with the same images.
    """
    parts = [read_scores(path) for path in paths]
    first = parts[0]
    for path, part in zip(paths, parts, strict=True):
        if (found := part.attributes["kind"]) != kind:
            raise BadInput(f"{path}: holds {SCORE_KINDS[found]}; expected {SCORE_KINDS[kind]}")
        check_same(path, part.attributes, paths[0], first.attributes, "run score again")
        if part.looks != first.looks:
            found, wanted = look_names(part.looks), look_names(first.looks)
            raise BadInput(f"{path}: of {found}, {paths[0]} of {wanted}; run score again")
    prompts = [prompt for part in parts for prompt in part.prompts]
    digests = [digest for part in parts for digest in part.digests]
    check_once(prompts, digests, paths[-1])
    return Scores(np.concatenate([part.values for part in parts]), first.looks, prompts, first.attributes, digests)


def check_images(
    where: object, scores: Scores, other: object, images: dict, prompts: list, digests: list | None
) -> None:
    """Raise BadInput unless the scores were read from the images of the file `other`.

    images, prompts, digests: what made those images, and which they are; no digests where one of them is of drafts,
    which are other images of the same candidates.
    """
    again = "run score again on the same images"
    if prompts != scores.prompts:
        raise BadInput(f"{where}: is of other prompts than {other}; run score again")
    apart_from = ("drafts",) if digests is None else ()
    check_same(where, scores.attributes["images"], other, images, again, apart_from=apart_from)
    for prompt, ours, theirs in zip(prompts, scores.digests, digests, strict=True) if digests is not None else ():
        if ours != theirs:
            raise BadInput(f"{where}: read from other images of {prompt[:60]!r} than {other}; {again}")
