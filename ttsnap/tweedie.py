"""The shard file: Tweedie images of the candidates of some prompts, one HDF5 file a shard."""

import contextlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np

from ttsnap.errors import BadInput, reads
from ttsnap.files import need_room, replacing

SCHEMA = "ttsnap-images-1"


@dataclass
class Shard:
    """What a shard file says of itself; the images stay in the file until `images` reads some."""

    path: Path
    prompts: list[str]
    candidates: int
    steps: list[int]  # the steps whose images are kept
    attributes: dict = field(default_factory=dict)

    def images(self, step: int, prompt: int | None = None) -> np.ndarray:
        """Images of one step: uint8 [P,C,H,W,3], or [C,H,W,3] of one prompt."""
        if step not in self.steps:
            raise BadInput(f"{self.path}: holds no images of step {step}, only of {self.steps}")
        at = slice(None) if prompt is None else prompt
        with open_hdf5(self.path) as file:
            try:
                return file["images"][at, :, self.steps.index(step)]
            except OSError:
                raise BadInput(
                    f"{self.path}: the images of step {step} are damaged; delete it and run generate again"
                ) from None


def open_hdf5(path: str | Path) -> h5py.File:
    """Open an HDF5 file for reading; BadInput when it is missing, truncated or something else."""
    try:
        return h5py.File(path, "r")
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file") from None
    except OSError:
        raise BadInput(
            f"{path}: truncated or not HDF5; delete it and run its stage again"
        ) from None


def write_shard(
    path: str | Path,
    prompts: list[str],
    steps: list[int],
    rows: Iterable[np.ndarray],
    attributes: dict,
) -> None:
    """Write a shard, whole or not at all. `rows` gives uint8 [C,len(steps),H,W,3] per prompt, in order."""
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["schema"] = SCHEMA
        file.attrs["attributes"] = json.dumps(attributes)
        file["steps"] = np.array(steps, dtype=np.int32)
        file.create_dataset("prompts", data=prompts, dtype=h5py.string_dtype("utf-8"))
        images = None
        for number, row in enumerate(rows):
            if images is None:
                shape, chunk = (len(prompts), *row.shape), (1, 1, 1, *row.shape[2:])
                images = file.create_dataset(
                    "images",
                    shape,
                    "u1",
                    chunks=chunk,
                    compression="gzip",
                    compression_opts=1,
                    fletcher32=True,
                )
            need_room(temporary.parent, row.nbytes)
            images[number] = row
            file.flush()  # so that what is left of the disk shows


class Kept:
    """The last version of a shard under a second name, for a rerun to take over the prompts it has in common.

    state: path without suffix; None: nothing is kept. identity: all that its images depend on but their prompts.
    """

    def __init__(self, state: str | Path | None, identity: str):
        self.state, self.old = Path(state) if state else None, {}
        if self.state:
            self.path = self.state.with_name(f"{self.state.name}.{identity}.h5")
            with contextlib.suppress(BadInput):  # none there, or broken
                self.old = {p: at for at, p in enumerate(read_shard(self.path).prompts)}

    def row(self, prompt: str) -> np.ndarray | None:
        """uint8 [C,steps,H,W,3] of a prompt that is kept, and whole by its check sums."""
        if prompt in self.old:
            with contextlib.suppress(OSError), open_hdf5(self.path) as file:
                return file["images"][self.old[prompt]]
        return None

    def replace(self, shard: str | Path) -> None:
        """Keep a finished shard, as a hard link: it takes no room while the shard is there."""
        if self.state:
            self.state.parent.mkdir(parents=True, exist_ok=True)
            for old in self.state.parent.glob(f"{self.state.name}.*.h5"):
                old.unlink()
            with contextlib.suppress(OSError):  # not every file system has links
                os.link(shard, self.path)


@reads("a ttsnap image shard", "run generate again")
def read_shard(path: str | Path) -> Shard:
    """Open a shard file. Raises BadInput when it is not whole or of another schema."""
    with open_hdf5(path) as file:
        if file.attrs.get("schema") != SCHEMA or "images" not in file:
            raise BadInput(f"{path}: not a ttsnap image shard; run generate again")
        prompts = [p.decode("utf-8") for p in file["prompts"][:]]
        steps = [int(s) for s in file["steps"][:]]
        candidates = file["images"].shape[1]
        return Shard(Path(path), prompts, candidates, steps, json.loads(file.attrs["attributes"]))
