"""Images as files, in the published tree p0000/id000/s00.png: prompt, candidate, step."""

import io
import itertools
import json
import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from ttsnap.errors import BadInput
from ttsnap.pruning.schedule import Look, look_names
from ttsnap.pruning.seeds import candidate_seed
from ttsnap.storage.files import need_room, reading, replacing, write_json, write_text
from ttsnap.storage.image_shards import Shard, read_shard, read_shards, write_shard
from ttsnap.storage.images import read_rgb
from ttsnap.storage.prompts import read_entries

IMAGE_FILE = re.compile(r"p(\d+)/id(\d+)/s(\d+)\.png")
PROMPTS = "prompts.json"  # beside p0000: entry N is the text of pN
PAIRS = "pairs.jsonl"


@dataclass
class Tree:
    """A folder with the same candidates and steps for each prompt; the images stay in their files."""

    folder: Path
    files: dict[tuple[int, int, int], Path]  # (prompt, candidate, step) → file
    prompts: list[int]
    candidates: list[int]
    steps: list[int]

    def images(self, prompt: int) -> np.ndarray:
        """uint8 [C,K,H,W,3] of one prompt. Raises BadInput for a bad image, and one of another size than the first."""
        return np.array([[self._image((prompt, c, step)) for step in self.steps] for c in self.candidates])

    def _image(self, place: tuple[int, int, int]) -> np.ndarray:
        path, (first, height, width) = self.files[place], self._first
        image = read_rgb(path)
        if image.shape[:2] != (height, width):
            found = f"{image.shape[1]} × {image.shape[0]}"
            raise BadInput(f"{path}: {found} pixels, {first} has {width} × {height}; give images of one size")
        return image

    @cached_property
    def _first(self) -> tuple[Path, int, int]:
        """The first file, and its height and width."""
        path = next(iter(self.files.values()))
        return path, *read_rgb(path).shape[:2]


def export_shards(
    paths: Sequence[str | Path],
    folder: str | Path,
    steps: Collection[int] | None = None,
    limit: int | None = None,
    pairs: bool = False,
) -> tuple[list[str], list[int]]:
    """Write the images of shards and their prompts into the tree `folder`; returns prompts and steps.

    Prompts are numbered across shards. steps: by default all looks of the first shard. limit: prompts to write. pairs:
    write pairs.jsonl too, a line for each image of the last step, with the seed of its noise. Raises BadInput for
    shards that were not made alike, or lack a step.
    """
    shards = read_shards(paths)
    if pairs and "seed" not in shards[0].attributes:
        raise BadInput(f"{shards[0].path}: does not say its run seed, which pairs need; export without --pairs")
    steps = sorted(set(steps)) if steps else shards[0].looks
    for shard in shards:
        if missing := set(steps) - set(shard.looks):
            held = look_names(shard.looks)
            raise BadInput(f"{shard.path}: holds no images of {look_names([*missing][:1])}, only of {held}")
    places = [(shard, at) for shard in shards for at in range(len(shard.prompts))][:limit]
    for number, (shard, at) in enumerate(tqdm(places, desc="export", unit="prompt")):
        for step in steps:
            for candidate, image in enumerate(shard.images(step, at)):
                write_image(folder, number, candidate, step, image)
    prompts = [shard.prompts[at] for shard, at in places]
    write_json(Path(folder) / PROMPTS, prompts)
    if pairs:
        lines = _pairs(prompts, shards[0].candidates, steps[-1], shards[0].attributes["seed"])
        write_text(Path(folder) / PAIRS, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    return prompts, steps


def _pairs(prompts: Sequence[str], candidates: int, look: Look, run_seed: int) -> list[dict]:
    """Prompt, image and seed of the noise of every candidate's image at one look."""
    return [
        {"prompt": prompt, "image": image_name(number, c, look), "seed": candidate_seed(run_seed, prompt, c)}
        for number, prompt in enumerate(prompts)
        for c in range(candidates)
    ]


def import_tree(
    folder: str | Path,
    out: str | Path,
    prompts: str | Path | None = None,
    steps: int | None = None,
    model: str = "imported",
    costs: Mapping[str, float] | None = None,
) -> Shard:
    """Write the images of the tree `folder` as one shard `out`; returns it.

    prompts: a prompt file whose entry N is the text of pN, by default prompts.json in the tree. steps: denoising steps,
    by default the last step found, plus 1. model, costs (denoise_tflop, decode_tflop): recorded in the shard. Raises
    BadInput as `find_tree`, for a prompt without a text and for a step beyond the last.
    """
    tree, file = find_tree(folder), prompts or Path(folder) / PROMPTS
    texts = read_entries(file)
    for prompt in tree.prompts:
        if prompt >= len(texts) or not texts[prompt]:
            raise BadInput(f"{file}: no entry {prompt} in it; the tree has p{prompt:04d}")
    steps = steps or tree.steps[-1] + 1
    if tree.steps[-1] >= steps:
        raise BadInput(f"--num-steps: {steps}, the tree has step {tree.steps[-1]}")
    rows = map(tree.images, tqdm(tree.prompts, desc="import", unit="prompt"))
    about = {"model": model, "source": "imported images", "steps": steps, **(costs or {})}
    write_shard(out, [texts[prompt] for prompt in tree.prompts], tree.steps, rows, about)
    return read_shard(out)


def image_name(prompt: int, candidate: int, look: Look) -> str:
    """Where an image lies in the tree."""
    name = f"draft_{look}.png" if isinstance(look, str) else f"s{look:02d}.png"
    return f"p{prompt:04d}/id{candidate:03d}/{name}"


def write_image(folder: str | Path, prompt: int, candidate: int, look: Look, image: np.ndarray):
    """Write an image uint8 [H,W,3] to its place in the tree."""
    path = Path(folder) / image_name(prompt, candidate, look)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    with replacing(path) as temporary:
        need_room(temporary.parent, buffer.tell())
        temporary.write_bytes(buffer.getvalue())


def find_tree(folder: str | Path) -> Tree:
    """List the images of a tree. Raises BadInput when it has none, or a prompt lacks an image that another has."""
    folder = Path(folder)
    if not folder.is_dir():
        raise BadInput(f"{folder}: no such folder")
    for place in (folder, *folder.glob("p*"), *folder.glob("p*/id*")):
        if place.is_dir():
            with reading(place, "cannot be read"):
                os.listdir(place)  # glob skips a folder that may not be read
    files = {}
    for path in sorted(folder.glob("p*/id*/s*.png")):
        if match := IMAGE_FILE.fullmatch(path.relative_to(folder).as_posix()):
            files[tuple(map(int, match.groups()))] = path
    if not files:
        raise BadInput(f"{folder}: has no images named like p0000/id000/s00.png")
    prompts, candidates, steps = (sorted(set(numbers)) for numbers in zip(*files, strict=True))
    for place in itertools.product(prompts, candidates, steps):
        if place not in files:
            raise BadInput(
                f"{folder}: p{place[0]:04d} has no id{place[1]:03d}/s{place[2]:02d}.png, which other prompts or"
                " candidates have; add it, or remove it everywhere"
            )
    return Tree(folder, files, prompts, candidates, steps)
