"""Drawn scenes of the shapes world with their captions, as pairs for the second method."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from ttsnap.shapes.captions import random_caption
from ttsnap.shapes.world import place, render
from ttsnap.storage.files import replacing, write_text


def draw_pairs(out: str | Path, count: int, part: str = "train", seed: int = 0) -> None:
    """Draw `count` scenes of one, two, three, one, … objects into `out`: the images, then pairs.jsonl.

    part: "train", "held_out" or "any" captions. seed: for captions and scenes.
    """
    rng, out = np.random.default_rng(seed), Path(out)
    captions = [random_caption(rng, 1 + n % 3, part) for n in range(count)]
    images = (render(place(rng, captions)).permute(0, 2, 3, 1) * 255).round().byte().numpy()
    lines = []
    for number, (caption, image) in enumerate(zip(captions, images, strict=True)):
        name = f"images/{number:06d}.png"
        with replacing(out / name) as temporary:
            Image.fromarray(image).save(temporary, format="PNG")
        lines.append(json.dumps({"prompt": caption.text(), "image": name}))
    write_text(out / "pairs.jsonl", "\n".join(lines) + "\n")
