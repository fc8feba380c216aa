"""Data sets as published, and targets that cannot be used."""

import gzip
import json
import os
import struct

import numpy as np
import pytest
from PIL import Image

from ttsnap.cli import main
from ttsnap.errors import BadInput
from ttsnap.settings.datasets import LABELLED
from ttsnap.sft.data import load_images
from ttsnap.sft.records import read_assigned
from ttsnap.sft.targets import Failure, pair_targets, read_image


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def pictures(n: int, size: int, channels: int, seed: int = 0) -> np.ndarray:
    shape = (n, size, size, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("zipped", [False, True])
def test_mnist_files_are_read_as_published(tmp_path, zipped):
    images, labels = pictures(6, 28, 1), np.arange(6, dtype=np.uint8)
    for name, array in (("images-idx3", images[..., 0]), ("labels-idx1", labels)):
        data = idx(array)
        path = tmp_path / f"t10k-{name}-ubyte{'.gz' if zipped else ''}"
        path.write_bytes(gzip.compress(data) if zipped else data)
    found = load_images("mnist", tmp_path, "test")
    assert np.array_equal(found.images, images) and found.labels.tolist() == labels.tolist()
    part = found.take(2, 3)
    assert np.array_equal(part.images, images[2:5])


def test_cifar_rows_are_label_red_green_blue(tmp_path):
    images = pictures(5, 32, 3)
    rows = [bytes([n]) + images[n].transpose(2, 0, 1).tobytes() for n in range(5)]
    (tmp_path / "test_batch.bin").write_bytes(b"".join(rows))
    found = load_images("cifar10", tmp_path, "test")
    assert np.array_equal(found.images, images) and found.labels.tolist() == [0, 1, 2, 3, 4]
    assert found.classes[3] == "cat"


def test_broken_data_files_are_one_line(tmp_path):
    good = idx(pictures(3, 28, 1)[..., 0])
    labels = idx(np.array([1, 2, 3], np.uint8))
    cases = {
        "cut": (good[:-1], labels, "bytes of data where"),
        "page": (b"<html>", labels, "not an IDX file"),
        "few labels": (good, idx(np.array([1, 2], np.uint8)), "3 images and 2 labels"),
        "label": (good, idx(np.array([1, 2, 10], np.uint8)), "label 10 is no class"),
    }
    for name, (images, labels, says) in cases.items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / "train-images-idx3-ubyte").write_bytes(images)
        (folder / "train-labels-idx1-ubyte").write_bytes(labels)
        with pytest.raises(BadInput, match=says):
            load_images("mnist", folder)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(good)[:-9])
    with pytest.raises(BadInput, match="cannot be read"):
        load_images("mnist", tmp_path)
    (tmp_path / "test_batch.bin").write_bytes(b"x" * 3072)
    with pytest.raises(BadInput, match="not whole rows"):
        load_images("cifar10", tmp_path, "test")
    for name, folder, says in (("mnist", None, "ttsnap download --only mnist"), ("cats", None, "unknown")):
        with pytest.raises(BadInput, match=says):
            load_images(name, folder)


def test_bundled_and_packaged_sets_have_their_sizes():
    there = {n: d for n, d in LABELLED.items() if not d.files or (d.packaged and d.packaged.is_dir())}
    assert "digits" in there
    for name, about in there.items():
        for split, size in about.sizes.items():
            data = load_images(name, split=split)
            assert len(data.images) == len(data.labels) == size
            assert set(data.labels.tolist()) == set(range(10))
    assert load_images("digits").images.shape[1:] == (8, 8, 1)


@pytest.fixture
def pairs(tmp_path):
    """A folder with a pairs.jsonl whose lines 0, 1, 2 are good and whose others are each bad in another way."""
    root = tmp_path / "data"
    (root / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name, size in (("a", (40, 20)), ("b", (16, 16)), ("one", (1, 1)), ("wide", (64, 64))):
        noise = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(noise).save(root / f"images/{name}.png")
    Image.new("RGBA", (30, 30), (255, 0, 0, 0)).save(root / "images/clear.png")
    (root / "images/cut.png").write_bytes((root / "images/wide.png").read_bytes()[:300])
    (root / "images/text.png").write_text("no image")
    huge = root / "images/huge.png"
    Image.new("1", (9000, 9000)).save(huge)
    Image.new("RGB", (16, 16)).save(tmp_path / "outside.png")
    os.symlink(tmp_path / "outside.png", root / "images/link.png")
    os.mkfifo(root / "images/pipe.png")
    lines = [
        {"prompt": "3", "image": "images/a.png"},
        {"prompt": "4", "image": "images/b.png"},
        {"prompt": "5", "image": "images/clear.png"},
        "not json {",
        ["a", "list"],
        {"prompt": "3"},
        {"prompt": 3, "image": "images/a.png"},
        {"prompt": "3", "image": "images/none.png"},
        {"prompt": "3", "image": "../outside.png"},
        {"prompt": "3", "image": str(tmp_path / "outside.png")},
        {"prompt": "3", "image": "images/link.png"},
        {"prompt": "3", "image": "images"},
        {"prompt": "3", "image": "images/one.png"},
        {"prompt": "3", "image": "images/huge.png"},
        {"prompt": "3", "image": "images/cut.png"},
        {"prompt": "3", "image": "images/text.png"},
        {"prompt": "3", "image": "images/pipe.png"},
    ]
    lines += [
        {"prompt": "half \ud800", "image": "images/a.png"},
        {"prompt": "3", "image": "\ud800.png"},
        {"prompt": "3", "image": "images/fractions.tiff"},
    ]
    Image.fromarray(np.eye(16, dtype=np.float32)).save(root / "images/fractions.tiff")
    text = "\n\n".join(x if isinstance(x, str) else json.dumps(x) for x in lines)
    (root / "pairs.jsonl").write_bytes(text.encode() + b"\n\xff\xfe\n")
    return root


def test_pairs_name_every_bad_line_and_use_the_others(pairs, gan, tmp_path):
    words = ["assign", "--pairs", str(pairs / "pairs.jsonl"), "--model", gan, "--steps", "3"]
    out = tmp_path / "assigned"
    assert main([*words, "--out", str(out), "--json", str(tmp_path / "a.json")]) == 0
    failures = [json.loads(line) for line in (out / "failures.jsonl").read_text().splitlines()]
    says = {failure["index"]: failure["error"] for failure in failures}
    expected = {
        3: "not a line of JSON", 4: "not a JSON object", 5: '"image"', 6: '"prompt"',
        7: "cannot be read", 8: "leaves the data root", 9: "leaves the data root",
        10: "leaves the data root", 11: "cannot be read", 12: "1×1 pixels", 13: "more than",
        14: "cannot be decoded", 15: "cannot be decoded", 16: "not a file",
        17: '"prompt"', 18: '"image"', 19: "fractions", 20: "not a line of JSON",
    }  # fmt: skip
    assert set(says) == set(expected)
    for index, text in expected.items():
        assert text in says[index], (index, says[index])
    samples = read_assigned([out / "manifest.jsonl"])
    assert samples.conditions == ["3", "4", "5"]
    assert samples.images.shape == (3, 8, 8, 1)
    assert (samples.images[2] == 255).all(), "transparency is over white"
    summary = json.loads((tmp_path / "a.json").read_text())
    assert summary["samples"] == 3 and summary["failures"] == 18
    assert summary["largest_relative_norm_change"] < 1e-5
    assert summary["loss"] <= summary["loss_start"]
    assert (out / "diagnostics.png").exists() and (out / "diagnostics.json").exists()


def test_sixteen_bits_of_grey_are_read_as_eight(tmp_path):
    values = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    for shape in ((1, 16, 16), (3, 16, 16)):
        image = read_image(tmp_path / "deep.png", shape)
        assert image.shape == (16, 16, shape[0])
        assert (image[..., 0] == np.arange(256).reshape(16, 16)).all()


def test_pairs_fields_start_and_limit(pairs, tmp_path):
    lines = [{"text": str(n), "file": "images/a.png"} for n in range(5)]
    path = tmp_path / "mine.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    options = dict(prompt_field="text", image_field="file", start=1, limit=3)
    found = list(pair_targets(path, pairs, **options))
    assert [(t.index, t.condition) for t in found] == [(1, "1"), (2, "2"), (3, "3")]
    assert all(isinstance(t, Failure) for t in pair_targets(path, pairs))
    with pytest.raises(BadInput, match="no such folder"):
        list(pair_targets(path, tmp_path / "nowhere"))
    with pytest.raises(BadInput, match="none.jsonl: no such file"):
        list(pair_targets(tmp_path / "none.jsonl", pairs))


def test_no_usable_target_is_a_failure(gan, tmp_path, capsys):
    (tmp_path / "pairs.jsonl").write_text("x\n")
    words = ["assign", "--pairs", str(tmp_path / "pairs.jsonl"), "--model", gan]
    assert main([*words, "--out", str(tmp_path / "o")]) == 1
    assert "no target could be used" in capsys.readouterr().err
    assert main([*words, "--out", str(tmp_path / "o"), "--mirror"]) == 0, "a shard among others"
    empty = str(tmp_path / "o" / "manifest.jsonl")
    assert main([*words, "--out", str(tmp_path / "q"), "--mirror", "--from", empty]) == 0
    assert json.loads((tmp_path / "q" / "failures.jsonl").read_text())["index"] == 0
    assert main(["assign", "--model", gan, "--out", str(tmp_path / "o")]) == 2
    words = ["assign", "--data", "digits", "--limit", "2", "--model", gan, "--out", str(tmp_path / "p")]
    assert main([*words, "--form", "helix"]) == 2
    assert "--form" in capsys.readouterr().err
