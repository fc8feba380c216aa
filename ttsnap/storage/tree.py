"""Images as files, in the published tree p0000/id000/s00.png: prompt, candidate, step (DESIGN §5)."""

import io
import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from ttsnap.errors import BadInput
from ttsnap.storage.files import need_room, reading, replacing
from ttsnap.storage.images import read_rgb

NAME = re.compile(r"p(\d+)/id(\d+)/s(\d+)\.png")
PROMPTS = "prompts.json"  # beside p0000: the list that the numbers count in


@dataclass
class Tree:
    """A folder that holds the same candidates and steps of each prompt; the images stay in their files."""

    folder: Path
    files: dict[tuple[int, int, int], Path]  # (prompt, candidate, step) → file
    prompts: list[int]
    candidates: list[int]
    steps: list[int]

    def images(self, prompt: int) -> np.ndarray:
        """uint8 [C,K,H,W,3] of one prompt. Raises BadInput for what is no image, or not of the first one's size."""
        return np.array(
            [[self._image((prompt, c, step)) for step in self.steps] for c in self.candidates]
        )

    def _image(self, place: tuple[int, int, int]) -> np.ndarray:
        path, (first, height, width) = self.files[place], self._first
        image = read_rgb(path)
        if image.shape[:2] != (height, width):
            raise BadInput(
                f"{path}: {image.shape[1]} × {image.shape[0]} pixels, {first} has {width} × {height};"
                " all must be of one size"
            )
        return image

    @cached_property
    def _first(self) -> tuple[Path, int, int]:
        """The first file, and its height and width."""
        path = next(iter(self.files.values()))
        return path, *read_rgb(path).shape[:2]


def write_image(folder: str | Path, prompt: int, candidate: int, step: int, image: np.ndarray):
    """Write one image uint8 [H,W,3] to its place in the tree."""
    path = Path(folder) / f"p{prompt:04d}" / f"id{candidate:03d}" / f"s{step:02d}.png"
    with io.BytesIO() as buffer:
        Image.fromarray(image).save(buffer, "PNG")
        with replacing(path) as temporary:
            need_room(temporary.parent, buffer.tell())
            temporary.write_bytes(buffer.getvalue())


def find_tree(folder: str | Path) -> Tree:
    """What is in a tree. Raises BadInput when there is nothing, or a prompt lacks an image that another has."""
    folder = Path(folder)
    if not folder.is_dir():
        raise BadInput(f"{folder}: no such folder")
    for place in (folder, *folder.glob("p*"), *folder.glob("p*/id*")):
        if place.is_dir():
            with reading(place, "cannot be read"):
                os.listdir(place)  # glob passes over a folder that may not be read
    files = {}
    for path in sorted(folder.glob("p*/id*/s*.png")):
        if match := NAME.fullmatch(path.relative_to(folder).as_posix()):
            files[tuple(map(int, match.groups()))] = path
    if not files:
        raise BadInput(f"{folder}: no image p0000/id000/s00.png or the like in it")
    prompts, candidates, steps = (sorted(set(numbers)) for numbers in zip(*files, strict=True))
    for prompt in prompts:
        for candidate in candidates:
            for step in steps:
                if (prompt, candidate, step) not in files:
                    raise BadInput(
                        f"{folder}: p{prompt:04d} has no id{candidate:03d}/s{step:02d}.png, other prompts or candidates"
                        " have that image; add it, or leave it out everywhere"
                    )
    return Tree(folder, files, prompts, candidates, steps)
