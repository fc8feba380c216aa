"""The score file: one reward (or the checker) on the images of one shard."""

import json
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from ttsnap.errors import BadInput, TtsnapError, reads
from ttsnap.files import replacing
from ttsnap.tweedie import open_hdf5

SCHEMA = "ttsnap-scores-1"


@dataclass
class Scores:
    """values float32 [P,C,K] at K steps, for P prompts; attributes say of what."""

    values: np.ndarray
    steps: list[int]
    prompts: list[str]
    attributes: dict

    def at(self, step: int) -> np.ndarray:
        """Values [P,C] of one step."""
        return self.values[:, :, self.steps.index(step)]


def write_scores(path: str | Path, scores: Scores) -> None:
    """Write a score file. Raises TtsnapError, naming prompt and step, when a value is not finite."""
    bad = np.argwhere(~np.isfinite(scores.values))
    if len(bad):
        prompt, candidate, at = bad[0]
        raise TtsnapError(
            f"{scores.attributes.get('reward')} gave {scores.values[tuple(bad[0])]} for prompt "
            f"{scores.prompts[prompt][:60]!r}, candidate {candidate}, step {scores.steps[at]}; mend the reward"
        )
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["schema"] = SCHEMA
        file.attrs["attributes"] = json.dumps(scores.attributes)
        file["values"] = scores.values.astype(np.float32)
        file["steps"] = np.array(scores.steps, dtype=np.int32)
        file.create_dataset("prompts", data=scores.prompts, dtype=h5py.string_dtype("utf-8"))


@reads("a ttsnap score file", "run score again")
def read_scores(path: str | Path) -> Scores:
    """Read a score file. Raises BadInput when it is not whole or of another schema."""
    with open_hdf5(path) as file:
        if file.attrs.get("schema") != SCHEMA:
            raise BadInput(f"{path}: not a ttsnap score file; run score again")
        return Scores(
            file["values"][:],
            [int(s) for s in file["steps"][:]],
            [p.decode("utf-8") for p in file["prompts"][:]],
            json.loads(file.attrs["attributes"]),
        )


def join_scores(paths: list[str]) -> Scores:
    """Read the score files of several shards and put their prompts one after the other."""
    parts = [read_scores(path) for path in paths]
    for path, part in zip(paths, parts, strict=True):
        if part.steps != parts[0].steps or part.attributes != parts[0].attributes:
            raise BadInput(f"{path}: made with other settings than {paths[0]}; run score again")
    return Scores(
        np.concatenate([part.values for part in parts]),
        parts[0].steps,
        [prompt for part in parts for prompt in part.prompts],
        parts[0].attributes,
    )
