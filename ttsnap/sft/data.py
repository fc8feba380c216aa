"""Labelled image data sets behind one call: digits (bundled), MNIST, Fashion-MNIST and CIFAR-10 as published."""

import gzip
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ttsnap.errors import BadInput, did_you_mean
from ttsnap.models.assets import home
from ttsnap.settings.datasets import LABELLED, Split
from ttsnap.storage.files import reading


@dataclass(frozen=True)
class Images:
    """images uint8 [N, H, W, C], C 1 or 3; labels int64 [N] into the class names."""

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]

    def take(self, start: int = 0, limit: int | None = None) -> "Images":
        """`limit` images from `start` on."""
        part = slice(start, None if limit is None else start + limit)
        return Images(self.images[part], self.labels[part], self.classes)


def load_images(name: str, folder: str | Path | None = None, split: Split = "train") -> Images:
    """One split of a data set; folder: that of its published files, as they are or gzipped.

    digits needs no folder, nor does a set that `ttsnap download` or a package (fashion_mnist: Debian's) has put in its
    place. Raises BadInput for an unknown name, and for files that are missing, cut short or of another format.
    """
    if name not in LABELLED:
        hint = did_you_mean(name, LABELLED)
        raise BadInput(f"data set {name!r} is unknown: use one of {', '.join(LABELLED)}{hint}")
    about = LABELLED[name]
    if split not in about.sizes:
        raise BadInput(f"split {split!r} is unknown: use train or test")
    if about.layout == "bundled":
        return Images(*_digits(split), about.classes)
    folder = folder or _usual_folder(name)
    if folder is None:
        raise BadInput(f"{name}: name its folder, or fetch it: `ttsnap download --only {name}`")
    reader = _cifar if about.layout == "cifar" else _mnist
    images, labels = reader(Path(folder), split)
    if len(images) != len(labels):
        raise BadInput(f"{folder}: {len(images)} images and {len(labels)} labels of {name} {split}")
    if len(labels) and labels.max() >= len(about.classes):
        raise BadInput(f"{folder}: label {labels.max()} is no class of {name}")
    return Images(images, labels, about.classes)


def data_files(name: str, folder: str | Path | None, split: str) -> list[Path]:
    """The files that `load_images` reads, existing or not; none for a bundled set or without a folder."""
    layout = LABELLED[name].layout
    folder = None if layout == "bundled" else folder or _usual_folder(name)
    if folder is None:
        return []
    names = _cifar_files if layout == "cifar" else _mnist_files
    return [_place(path) for path in names(Path(folder), split)]


def _usual_folder(name: str) -> Path | None:
    """Where a download or a system package has put a data set; None if neither has."""
    places = (home(name), LABELLED[name].packaged)
    return next((place for place in places if place and place.is_dir()), None)


def _digits(split: str) -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's 1797 handwritten digits of 8×8; every fifth is held out."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[..., None]
    chosen = (np.arange(len(images)) % 5 == 4) == (split == "test")
    return images[chosen], digits.target[chosen].astype(np.int64)


def _mnist(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    images, labels = _mnist_files(folder, split)
    return read_idx(images, 3)[..., None], read_idx(labels, 1).astype(np.int64)


def _mnist_files(folder: Path, split: str) -> list[Path]:
    start = "train" if split == "train" else "t10k"
    return [folder / f"{start}-images-idx3-ubyte", folder / f"{start}-labels-idx1-ubyte"]


def read_idx(path: str | Path, dimensions: int) -> np.ndarray:
    """An IDX file of bytes (yann.lecun.com/exdb/mnist), plain or gzipped: uint8 with `dimensions` dimensions."""
    path, data = _read(Path(path))
    head = 4 + 4 * dimensions
    if len(data) < head or data[:4] != bytes([0, 0, 8, dimensions]):
        raise BadInput(f"{path}: not an IDX file of bytes with {dimensions} dimensions")
    shape = struct.unpack(f">{dimensions}I", data[4:head])
    if len(data) - head != int(np.prod(shape, dtype=object)):
        raise BadInput(f"{path}: {len(data) - head} bytes of data where {shape} are announced")
    return np.frombuffer(bytearray(data), np.uint8, offset=head).reshape(shape)  # writable


def _cifar(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """CIFAR-10, binary version: rows of a label and 3×32×32 bytes."""
    parts = []
    for path in _cifar_files(folder, split):
        path, data = _read(path)
        if not data or len(data) % 3073:
            raise BadInput(f"{path}: {len(data)} bytes are not whole rows of 3073 (CIFAR-10 binary)")
        parts.append(np.frombuffer(data, np.uint8).reshape(-1, 3073))
    rows = np.concatenate(parts)
    images = rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), rows[:, 0].astype(np.int64)


def _cifar_files(folder: Path, split: str) -> list[Path]:
    inner = folder / "cifar-10-batches-bin"
    folder = inner if inner.is_dir() else folder
    train = [f"data_batch_{n}.bin" for n in range(1, 6)]
    return [folder / name for name in (train if split == "train" else ["test_batch.bin"])]


def _place(path: Path) -> Path:
    """A file, or its gzipped sibling if only that exists."""
    zipped = path.with_name(path.name + ".gz")
    return zipped if zipped.exists() and not path.exists() else path


def _read(path: Path) -> tuple[Path, bytes]:
    """The bytes of a file, or of its gzipped sibling."""
    path, name = _place(path), path.name
    with reading(path, "cannot be read", "fetch it again"):
        data = path.read_bytes()
        return path, data if path.name == name else gzip.decompress(data)
