"""Scores against the official image-reward and hpsv2 packages, run in an environment of their own.

TTSNAP_OFFICIAL names that environment's python (`make official` builds it); without it these tests are skipped.
"""

import json
import os
import string
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ttsnap.rewards.base import load_reward

PYTHON = os.environ.get("TTSNAP_OFFICIAL", "")
SEED = int(os.environ.get("TTSNAP_PARITY_SEED", "0"))
needs_official = pytest.mark.skipif(
    not Path(PYTHON).is_file(),
    reason="TTSNAP_OFFICIAL names no python with the official packages; `make official` builds one",
)
PROMPTS = [
    "a red circle left of a blue square",
    "A Café,  with   spaces &amp; “quotes” — naïve 東京",
    "word " * 200,
    "[DEC] it's [ENC] 3 dogs' 42",
    "",
]
SIZES = [(37, 61), (224, 224), (300, 225), (225, 517), (512, 96)]  # height, width


def write_cases(folder: Path) -> list[torch.Tensor]:
    """Images of odd shapes, prompts and a vocabulary; returns the images [1,3,H,W] in [0,1]."""
    rng = np.random.default_rng(SEED)
    pictures, names = [], []
    for number, (height, width) in enumerate(SIZES):
        coarse = Image.fromarray(rng.integers(0, 256, (7, 5, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), float)
        picture = np.clip(smooth + rng.normal(0, 25, smooth.shape), 0, 255).astype(np.uint8)
        names.append(f"{number}.png")
        Image.fromarray(picture).save(folder / names[-1])
        pictures.append(torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255)
    letters = string.ascii_lowercase + string.digits + string.punctuation + "東京“”—"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters]
    words += [f"##{letter}" for letter in letters] + ["red", "circle", "##are", "of", "a", "word"]
    bert = folder / "bert-base-uncased"
    bert.mkdir()
    (bert / "vocab.txt").write_text("\n".join(dict.fromkeys(words)) + "\n")
    (folder / "cases.json").write_text(json.dumps({"seed": SEED, "prompts": PROMPTS, "images": names}))
    return pictures


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """(folder, images, results of the official packages)."""
    folder = tmp_path_factory.mktemp("official")
    images = write_cases(folder)
    script = str(Path(__file__).parents[1] / "helpers" / "official_rewards.py")
    done = subprocess.run([PYTHON, script, str(folder)], cwd=folder, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, images, json.loads((folder / "official.json").read_text())


def open_ours(kind: str, folder: Path):
    name, _, version = kind.partition(" ")
    options = {"version": version, "architecture": f"{folder}/architecture.json"} if version else {}
    return load_reward(name, path=str(folder), **options)


@needs_official
@pytest.mark.parametrize("kind", ["imagereward", "hpsv2 v2.0", "hpsv2 v2.1"])
def test_scores_equal_the_official_ones(official, kind):
    folder, images, reference = official
    reward = open_ours(kind, folder)
    expected = np.array(reference[kind]["scores"])
    with torch.inference_mode():
        ours = [reward(i, [p]).item() for i, p in zip(images, PROMPTS, strict=True)]
    print(kind, "largest difference", np.abs(ours - expected).max(), "spread", expected.std())
    assert expected.std() > 0.02, "the comparison means nothing unless the scores differ"
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-4)


@needs_official
@pytest.mark.parametrize("kind", ["imagereward", "hpsv2 v2.1"])
def test_gradients_equal_the_official_ones(official, kind):
    folder, images, reference = official
    reward = open_ours(kind, folder)
    pixels = reward.preprocess(images[0]).requires_grad_()
    reward.score(pixels, PROMPTS[:1]).sum().backward()
    if "gradient" in reference[kind]:
        assert pixels.grad.norm().item() == pytest.approx(reference[kind]["gradient"], rel=1e-3)
    image = images[0].clone().requires_grad_()
    reward(image, PROMPTS[:1]).sum().backward()
    assert torch.isfinite(image.grad).all() and image.grad.abs().sum() > 0


if __name__ == "__main__":
    write_cases(Path(sys.argv[1]))
