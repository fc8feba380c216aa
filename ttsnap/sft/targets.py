"""Targets: high-quality images with captions or classes, from pairs.jsonl or a labelled data set."""

import functools
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from ttsnap.errors import BadInput
from ttsnap.sft.data import Images
from ttsnap.sft.digests import pair_lines
from ttsnap.storage.files import one_line, parse_json, why_unreadable
from ttsnap.storage.images import read_rgb
from ttsnap.storage.prompts import text_fault

LEAST_SIDE = 8  # pixels; nothing can be learned from a smaller image


class BadTarget(Exception):
    """A target that cannot be used, and why; the run goes on with the others."""


@dataclass(frozen=True)
class Target:
    """One target. `key` is a digest of condition, image and seed; `load(shape)` gives uint8 [H, W, C].

    seed: of the noise that the image was made from, where that is known.
    """

    key: str
    index: int
    condition: str
    source: str
    load: Callable[[tuple[int, int, int]], np.ndarray]
    seed: int | None = None


@dataclass(frozen=True)
class Failure:
    """A line that gave no target."""

    index: int
    error: str


def target_key(condition: str, image: bytes, seed: int | None = None) -> str:
    """16 hex digits that name a target by its content, wherever it is listed."""
    made_from = b"" if seed is None else b"\0%d" % seed
    return hashlib.sha256(condition.encode() + b"\0" + image + made_from).hexdigest()[:16]


def labelled_targets(data: Images, start: int = 0, limit: int | None = None) -> Iterator[Target]:
    """The targets of a labelled data set: `limit` images from `start` on, the class name as condition."""
    part = data.take(start, limit)
    for index, (image, label) in enumerate(zip(part.images, part.labels, strict=True), start):
        condition = part.classes[label]
        key = target_key(condition, image.tobytes())
        yield Target(key, index, condition, "", lambda shape, image=image: _fits(image, shape))


def pair_targets(
    path: str | Path,
    root: str | Path | None = None,
    *,
    prompt_field: str = "prompt",
    image_field: str = "image",
    start: int = 0,
    limit: int | None = None,
) -> Iterator[Target | Failure]:
    """The targets of a pairs.jsonl: `limit` lines from line `start` on (from 0; blank lines do not count).

    root: the folder that image paths are relative to and must stay in, by default that of the file. A line that
    cannot be used is a Failure. Raises BadInput when the file itself cannot be read.
    """
    root = Path(root or Path(path).parent)
    if not root.is_dir():
        raise BadInput(f"{root}: no such folder (root of the images)")
    for index, line in _some(enumerate(pair_lines(path)), start, limit):
        try:
            yield _pair(index, line, root.resolve(), prompt_field, image_field)
        except BadTarget as error:
            yield Failure(index, str(error))


def _some(items: Iterable, start: int, limit: int | None) -> Iterator:
    return islice(items, start, None if limit is None else start + limit)


def _pair(index: int, line: bytes, root: Path, prompt_field: str, image_field: str) -> Target:
    try:
        values = parse_json(line.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        what = "" if isinstance(error, json.JSONDecodeError | UnicodeError) else f" ({error})"
        raise BadTarget(f"not a line of JSON in UTF-8{what}") from None
    if not isinstance(values, dict):
        raise BadTarget("not a JSON object")
    for field in (prompt_field, image_field):
        value = values.get(field)
        if not isinstance(value, str) or not value.strip():
            raise BadTarget(f'needs a text under "{field}"')
        if fault := text_fault(value):
            raise BadTarget(f'"{field}" holds {fault}')
    prompt, image, seed = values[prompt_field].strip(), values[image_field], values.get("seed")
    if seed is not None and (type(seed) is not int or not 0 <= seed < 2**63):
        raise BadTarget('"seed" is no whole number from 0 to 2⁶³ − 1')
    try:
        place = (root / image).resolve()
        if Path(image).is_absolute() or not place.is_relative_to(root):
            raise BadTarget(f"{image}: leaves the data root")
        if place.exists() and not place.is_file():  # reading a pipe would wait for ever
            raise BadTarget(f"{image}: cannot be read (not a file)")
        key = target_key(prompt, place.read_bytes(), seed)
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links
        reason = why_unreadable(root / image, error) or one_line(error)
        raise BadTarget(f"{image}: cannot be read ({reason})") from None
    return Target(key, index, prompt, image, lambda shape: read_image(place, shape, image), seed)


def image_files(
    path: str | Path, root: str | Path | None, image_field: str, start: int, limit: int | None
) -> list[Path]:
    """The existing image files that some lines of a pairs.jsonl name; `pair_targets` reports bad lines."""
    files, root = [], Path(root or Path(path).parent)
    for line in _some(pair_lines(path), start, limit):
        try:
            file = root / str(json.loads(line.decode("utf-8-sig"))[image_field])
            if file.is_file():
                files.append(file)
        except (OSError, ValueError, RecursionError, TypeError, KeyError):
            continue
    return files


def same_image(train: list[Path], test: list[Path]) -> tuple[Path, Path] | None:
    """The first image of `test` with the same bytes as an image of `train`, as (train, test); None without one."""

    @functools.cache
    def digest(file: Path) -> bytes:
        return hashlib.sha256(file.read_bytes()).digest()

    by_size: dict[int, list[Path]] = {}  # only files of the same size have to be read
    for file in train:
        by_size.setdefault(file.stat().st_size, []).append(file)
    for file in test:
        for other in by_size.get(file.stat().st_size, ()):
            if file.samefile(other) or digest(file) == digest(other):
                return other, file
    return None


def read_image(path: str | Path, shape: tuple[int, int, int], name: str = "") -> np.ndarray:
    """An image file cropped at the centre and scaled to shape (C, H, W): uint8 [H, W, C], transparency over white.

    Raises BadTarget for what `images.read_rgb` refuses, and for a side below 8 pixels.
    """
    name = name or str(path)
    channels, height, width = shape
    try:
        pixels = read_rgb(path, name)
    except BadInput as error:
        raise BadTarget(str(error)) from None
    rows, columns, _ = pixels.shape
    if min(rows, columns) < LEAST_SIDE:
        raise BadTarget(f"{name}: {columns}×{rows} pixels, a side is below {LEAST_SIDE}")
    image = Image.fromarray(pixels).convert("L" if channels == 1 else "RGB")
    image = ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)
    return np.asarray(image, dtype=np.uint8).reshape(height, width, channels)


def _fits(image: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    c, h, w = shape
    if image.shape != (h, w, c):
        raise BadInput(f"the data set has images of {image.shape}, the model makes {(h, w, c)}")
    return image
