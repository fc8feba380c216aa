"""Digests of the targets of the second method: only of what is read, whatever else lies beside it."""

import hashlib
import json
from itertools import islice
from pathlib import Path

from ttsnap.sft.data import data_files
from ttsnap.storage.content import contents
from ttsnap.storage.files import reading


def data_digest(name: str, folder: str | None, split: str) -> str:
    """16 hex digits of a split of a labelled data set."""
    return _digest([name, split, contents(data_files(name, folder, split), times=True)])


def pairs_digest(path: str, root: str | None, prompt_field: str, image_field: str, start: int, limit: int) -> str:
    """16 hex digits of `limit` pairs from `start` on: prompts, and names and bytes of the images.

    A line that is no pair counts as it stands; `ttsnap assign` reports it.
    """
    folder = Path(root) if root else Path(path).parent
    pairs = [_pair(line, prompt_field, image_field) for line in islice(pair_lines(path), start, start + limit)]
    images = [folder / pair[1] for pair in pairs if len(pair) > 1]
    return _digest([pairs, contents(images, times=True)])


def pair_lines(path: str | Path) -> list[bytes]:
    """The lines of a pairs file as they stand, without blank ones. Raises BadInput when it cannot be read."""
    with reading(path, "cannot be read"):
        return [line for line in Path(path).read_bytes().splitlines() if line.strip()]


def _pair(line: bytes, prompt_field: str, image_field: str) -> list[str]:
    try:
        values = json.loads(line.decode("utf-8-sig"))
        prompt, image, seed = values[prompt_field].strip(), values[image_field], values.get("seed")
        made_from = [] if seed is None else [str(seed)]
        return [prompt, str(Path(image)), *made_from] if "\0" not in image else [str(line)]
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return [str(line)]


def _digest(value: list) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]
