"""`ttsnap draw-shapes`: true pictures of the shapes world with their captions, as pairs for the second method."""

import argparse
import json
from pathlib import Path

from ttsnap.commands.options import MOST_IMAGES, out_folder, seed, whole
from ttsnap.storage.files import replacing, write_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--out", type=out_folder, required=True, help="folder for pairs.jsonl and images"
    )
    parser.add_argument("--count", type=whole(1, MOST_IMAGES), default=256, help="pictures")
    parser.add_argument(
        "--part", default="train", choices=["train", "held_out"], help="which captions"
    )
    parser.add_argument("--seed", type=seed, default=0, help="of captions and pictures")


def run(args: argparse.Namespace) -> dict:
    """Draw one to three objects in turn; write the images, then pairs.jsonl."""
    import numpy as np
    from PIL import Image

    from ttsnap.shapes.captions import random_caption
    from ttsnap.shapes.world import place, render

    rng, out = np.random.default_rng(args.seed), Path(args.out)
    captions = [random_caption(rng, 1 + n % 3, args.part) for n in range(args.count)]
    images = (render(place(rng, captions)).permute(0, 2, 3, 1) * 255).round().byte().numpy()
    lines = []
    for number, (caption, image) in enumerate(zip(captions, images, strict=True)):
        name = f"images/{number:06d}.png"
        with replacing(out / name) as temporary:
            Image.fromarray(image).save(temporary, format="PNG")
        lines.append(json.dumps({"prompt": caption.text(), "image": name}))
    write_text(out / "pairs.jsonl", "\n".join(lines) + "\n")
    return {"pairs": len(lines), "file": str(out / "pairs.jsonl")}
