"""The published tree of images, p0000/id000/s00.png: export, import, and errors of a bad tree."""

import json

import numpy as np
import pytest
from PIL import Image

from ttsnap.cli import main
from ttsnap.storage.image_shards import read_shard, write_shard

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (3, 2, 2, 8, 6, 3), dtype=np.uint8)  # prompts, candidates, steps
PROMPTS = ["a cat", "a dog", "a cat"]  # the published list repeats prompts


@pytest.fixture
def tree(tmp_path):
    """Two shards, exported."""
    about = {"model": "m", "steps": 20}
    for name, at in (("a", slice(0, 2)), ("b", slice(2, 3))):
        write_shard(tmp_path / f"{name}.h5", PROMPTS[at], [4, 19], PIXELS[at], about)
    shards = [str(tmp_path / "a.h5"), str(tmp_path / "b.h5")]
    assert main(["export-images", *shards, "--out", str(tmp_path / "tree")]) == 0
    return tmp_path / "tree"


def test_import_inverts_export(tree, tmp_path):
    assert np.array_equal(np.asarray(Image.open(tree / "p0002/id001/s19.png")), PIXELS[2, 1, 1])
    assert json.loads((tree / "prompts.json").read_text()) == PROMPTS
    out, costs = tmp_path / "all.h5", ["--denoise-cost", "2", "--decode-cost", "1.5"]
    assert main(["import-images", str(tree), "--out", str(out), *costs]) == 0
    shard = read_shard(out)
    assert (shard.prompts, shard.candidates, shard.looks) == (PROMPTS, 2, [4, 19])
    assert np.array_equal(shard.images(4), PIXELS[:, :, 0])
    assert np.array_equal(shard.images(19), PIXELS[:, :, 1])
    assert shard.attributes["steps"] == 20 and shard.attributes["decode_tflop"] == 1.5


def test_some_steps_and_prompts(tree, tmp_path):
    out = str(tmp_path / "some")
    words = ["export-images", str(tmp_path / "a.h5"), "--out", out, "--steps", "19", "--limit", "1"]
    assert main(words) == 0
    names = sorted(p.relative_to(out).as_posix() for p in (tmp_path / "some").rglob("*.png"))
    assert names == ["p0000/id000/s19.png", "p0000/id001/s19.png"]


def test_imported_images_become_a_reward_tensor(tree, tmp_path):
    """By score and tensor; without costs in the shard the tensor has none."""
    from ttsnap.storage.tensor import read_tensor

    shard, scores, out = (str(tmp_path / name) for name in ("all.h5", "scores.h5", "tensor.h5"))
    assert main(["import-images", str(tree), "--out", shard]) == 0
    reward = ["--kind", "aesthetic", "--option", "path=embedded:shapes-clip"]
    reward += ["--option", "head=embedded:shapes-aesthetic/head.safetensors"]
    assert main(["score", shard, "--out", scores, *reward, "--threads", "1"]) == 0
    assert main(["tensor", "--base", scores, "--out", out]) == 0
    tensor = read_tensor(out)
    assert tensor.base.shape == (3, 2, 20) and tensor.read == [4, 19]
    assert tensor.attrs["model"] == "imported" and "look_tflop" not in tensor.attrs


IMAGE = "p0001/id001/s04.png"
HARMS = {
    "p0001 has no id001/s04.png": lambda tree: (tree / IMAGE).unlink(),
    f"{IMAGE}: 9 × 8 pixels": lambda tree: Image.new("RGB", (9, 8)).save(tree / IMAGE),
    f"{IMAGE}: not an image": lambda tree: (tree / IMAGE).write_text("<html>"),
    "no entry 2 in it; the tree has p0002": lambda tree: (tree / "prompts.json").write_text('["a cat", "a dog"]'),
    "has no images named like p0000/id000/s00.png": lambda tree: [path.unlink() for path in tree.rglob("*.png")],
    "--num-steps: 10, the tree has step 19": lambda tree: None,
}


@pytest.mark.parametrize("says", HARMS)
def test_a_bad_tree_is_refused_in_one_line(tree, tmp_path, capsys, says):
    HARMS[says](tree)
    out, words = tmp_path / "all.h5", ["--num-steps", "10"] if "--num-steps" in says else []
    assert main(["import-images", str(tree), "--out", str(out), *words]) == 2
    error = capsys.readouterr().err
    assert says in error and error.strip().splitlines()[-1].startswith("ttsnap import-images: ") and not out.exists()


def test_a_step_that_a_shard_lacks_is_named(tree, tmp_path, capsys):
    words = ["export-images", str(tmp_path / "a.h5"), "--out", str(tmp_path / "x"), "--steps", "5"]
    assert main(words) == 2
    assert "holds no images of step 5, only of steps 4, 19" in capsys.readouterr().err
