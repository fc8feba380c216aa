"""The shard file: looks at the candidates of some prompts, Tweedie images or drafts, in one HDF5 file."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np

from ttsnap.errors import BadInput, reads
from ttsnap.pruning.schedule import Look, look_name, look_names
from ttsnap.storage.files import need_room, reading, replacing, why_unreadable
from ttsnap.storage.provenance import check_once, check_same

IMAGES_SCHEMA = "ttsnap-images-2"


@dataclass
class Shard:
    """The header of a shard file; the images stay in the file until `images` reads some."""

    path: Path
    prompts: list[str]
    candidates: int
    looks: list[Look]  # the steps, or the drafts, whose images are kept
    attributes: dict = field(default_factory=dict)
    digests: list[str] = field(default_factory=list)  # of each prompt's images

    @property
    def of_drafts(self) -> bool:
        """Whether its looks are drafts."""
        return isinstance(self.looks[0], str)

    def images(self, look: Look, prompt: int | None = None) -> np.ndarray:
        """Images of one look: uint8 [P,C,H,W,3], or [C,H,W,3] of one prompt."""
        if look not in self.looks:
            raise BadInput(f"{self.path}: holds no images of {look_name(look)}, only of {look_names(self.looks)}")
        at = slice(None) if prompt is None else prompt
        with open_hdf5(self.path, f"the images of {look_name(look)} are damaged") as file:
            return file["images"][at, :, self.looks.index(look)]


@contextlib.contextmanager
def open_hdf5(path: str | Path, broken: str = "truncated or damaged", missing: str = "") -> Iterator[h5py.File]:
    """An HDF5 file open for reading; BadInput when it cannot be opened, or fails within the block.

    broken: the message when its bytes are at fault; missing: the remedy when there is no such file.
    """
    with reading(path, broken, "delete it and run its stage again", missing):
        try:
            file = h5py.File(path, "r")
        except OSError as error:
            if why_unreadable(path, error) or h5py.is_hdf5(path):
                raise
            raise BadInput(f"{path}: not an HDF5 file; name one that ttsnap wrote") from None
        with file:
            yield file


def write_shard(
    path: str | Path, prompts: list[str], looks: list[Look], rows: Iterable[np.ndarray], attributes: dict
) -> None:
    """Write a shard, whole or not at all. rows: uint8 [C,len(looks),H,W,3] of each prompt, in order."""
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["schema"] = IMAGES_SCHEMA
        file.attrs["attributes"] = json.dumps(attributes)
        write_looks(file, looks)
        file.create_dataset("prompts", data=prompts, dtype=h5py.string_dtype("utf-8"))
        images, digests = None, []
        for number, row in enumerate(rows):
            digests.append(hashlib.blake2b(np.ascontiguousarray(row), digest_size=8).hexdigest())
            if images is None:
                shape, chunk = (len(prompts), *row.shape), (1, 1, 1, *row.shape[2:])
                images = file.create_dataset(
                    "images", shape, "u1", chunks=chunk, compression="gzip", compression_opts=1, fletcher32=True
                )
            need_room(temporary.parent, row.nbytes)
            images[number] = row
            file.flush()  # so that the free space on the disk is current
        file["digests"] = np.array(digests, "S16")


class Kept:
    """The last version of a shard under a second name, from which a rerun copies the prompts it shares.

    state: path without suffix; None: keep nothing. identity: all that the images depend on, except their prompts.
    """

    def __init__(self, state: str | Path | None, identity: str):
        self.state, self.old = Path(state) if state else None, {}
        if self.state:
            self.path = self.state.with_name(f"{self.state.name}.{identity}.h5")
            with contextlib.suppress(BadInput):  # missing or broken
                self.old = {p: at for at, p in enumerate(read_shard(self.path).prompts)}

    def row(self, prompt: str) -> np.ndarray | None:
        """uint8 [C,looks,H,W,3] of a kept prompt; None when there is none or its checksums fail."""
        if prompt in self.old:
            with contextlib.suppress(BadInput), open_hdf5(self.path) as file:
                return file["images"][self.old[prompt]]
        return None

    def replace(self, shard: str | Path) -> None:
        """Keep a finished shard as a hard link, which takes no space while the shard exists."""
        if self.state:
            self.state.parent.mkdir(parents=True, exist_ok=True)
            for old in self.state.parent.glob(f"{self.state.name}.*.h5"):
                old.unlink()
            with contextlib.suppress(OSError):  # not every file system has links
                os.link(shard, self.path)


@reads("a ttsnap image shard", "run generate again")
def read_shard(path: str | Path) -> Shard:
    """Open a shard file. Raises BadInput when it is incomplete or has another schema."""
    with open_hdf5(path) as file:
        if file.attrs.get("schema") != IMAGES_SCHEMA or "images" not in file:
            raise BadInput(f"{path}: not a ttsnap image shard; run generate again")
        return Shard(Path(path), candidates=file["images"].shape[1], **read_header(file))


def write_looks(file: h5py.File, looks: Sequence[Look]) -> None:
    """Write the looks of an image shard or score file: its steps, or the names of its drafts."""
    drafts = any(isinstance(look, str) for look in looks)
    file["steps"] = np.array(looks, dtype=h5py.string_dtype("utf-8") if drafts else np.int32)


def read_header(file: h5py.File) -> dict:
    """What image shards and score files both hold: prompts, looks, attributes, and a digest of each prompt's images."""
    looks = file["steps"]
    return {
        "prompts": file["prompts"].asstr()[:].tolist(),
        "looks": (looks.asstr() if h5py.check_string_dtype(looks.dtype) else looks)[:].tolist(),
        "attributes": json.loads(file.attrs["attributes"]),
        "digests": file["digests"].asstr("ascii")[:].tolist(),
    }


def read_shards(paths: Sequence[str | Path]) -> list[Shard]:
    """Open the shards of one set, in order.

    Raises BadInput unless they were made alike and no images come twice.
    """
    shards = [read_shard(path) for path in paths]
    again = "generate all shards alike"
    for path, shard in zip(paths, shards, strict=True):
        check_same(path, shard.attributes, paths[0], shards[0].attributes, again)
        if shard.candidates != shards[0].candidates:
            raise BadInput(f"{path}: {shard.candidates} candidates, {paths[0]} has {shards[0].candidates}; {again}")
    check_once(
        [p for shard in shards for p in shard.prompts], [d for shard in shards for d in shard.digests], paths[-1]
    )
    return shards
