"""Data sets as published, targets that cannot be used, and assigned datasets that are added to, killed and moved."""

import gzip
import json
import os
import shutil
import struct

import numpy as np
import pytest
import torch
from PIL import Image

from ttsnap.cli import main
from ttsnap.errors import BadInput
from ttsnap.noise import assign as noise_assign
from ttsnap.sft import build as building
from ttsnap.sft.data import DEBIAN_FASHION, load_images
from ttsnap.sft.gan import GanGenerator, save_gan
from ttsnap.sft.generators import load_generator
from ttsnap.sft.records import read_assigned
from ttsnap.sft.settings import SIZES, Assign
from ttsnap.sft.targets import Failure, of_images, of_pairs


def idx(array: np.ndarray) -> bytes:
    return (
        bytes([0, 0, 8, array.ndim])
        + struct.pack(f">{array.ndim}I", *array.shape)
        + array.tobytes()
    )


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
    for name, (images, of, says) in cases.items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / "train-images-idx3-ubyte").write_bytes(images)
        (folder / "train-labels-idx1-ubyte").write_bytes(of)
        with pytest.raises(BadInput, match=says):
            load_images("mnist", folder)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(good)[:-9])
    with pytest.raises(BadInput, match="cannot be read"):
        load_images("mnist", tmp_path)
    (tmp_path / "test_batch.bin").write_bytes(b"x" * 3072)
    with pytest.raises(BadInput, match="not whole rows"):
        load_images("cifar10", tmp_path, "test")
    for name, folder, says in (
        ("mnist", None, "ttsnap download --only mnist"),
        ("cats", None, "unknown"),
    ):
        with pytest.raises(BadInput, match=says):
            load_images(name, folder)


def test_bundled_and_packaged_sets_have_their_sizes():
    names = ["digits", *(["fashion_mnist"] if DEBIAN_FASHION.is_dir() else [])]
    for name in names:
        for split, size in SIZES[name].items():
            data = load_images(name, split=split)
            assert len(data.images) == len(data.labels) == size
            assert set(data.labels.tolist()) == set(range(10))
    assert load_images("digits").images.shape[1:] == (8, 8, 1)


@pytest.fixture
def pairs(tmp_path):
    """A folder with pairs.jsonl whose lines 0, 1, 2 are good and the others each bad in a way of its own."""
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
    ]
    text = "\n\n".join(x if isinstance(x, str) else json.dumps(x) for x in lines)
    (root / "pairs.jsonl").write_bytes(text.encode() + b"\n\xff\xfe\n")
    return root


@pytest.fixture(scope="module")
def gan(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("gan")
    save_gan(GanGenerator(1, 8, 16, 8, [str(n) for n in range(10)]), folder)
    return str(folder)


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
        14: "cannot be decoded", 15: "cannot be decoded", 16: "not a line of JSON",
    }  # fmt: skip
    assert set(says) == set(expected)
    for index, text in expected.items():
        assert text in says[index], (index, says[index])
    samples = read_assigned([out / "manifest.jsonl"])
    assert samples.conditions == ["3", "4", "5"]
    assert samples.images.shape == (3, 8, 8, 1)
    assert (samples.images[2] == 255).all(), "transparency is over white"
    summary = json.loads((tmp_path / "a.json").read_text())
    assert summary["samples"] == 3 and summary["failures"] == 14
    assert summary["largest_relative_norm_change"] < 1e-5
    assert summary["loss"] <= summary["loss_start"]
    assert (out / "diagnostics.png").exists() and (out / "diagnostics.json").exists()


def test_pairs_fields_start_and_limit(pairs, tmp_path):
    lines = [{"text": str(n), "file": "images/a.png"} for n in range(5)]
    path = tmp_path / "mine.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    options = dict(prompt_field="text", image_field="file", start=1, limit=3)
    found = list(of_pairs(path, pairs, **options))
    assert [(t.index, t.condition) for t in found] == [(1, "1"), (2, "2"), (3, "3")]
    assert all(isinstance(t, Failure) for t in of_pairs(path, pairs))
    with pytest.raises(BadInput, match="no such folder"):
        list(of_pairs(path, tmp_path / "nowhere"))
    with pytest.raises(BadInput, match="cannot be read"):
        list(of_pairs(tmp_path / "none.jsonl", pairs))


def test_no_usable_target_is_a_failure(gan, tmp_path, capsys):
    (tmp_path / "pairs.jsonl").write_text("x\n")
    words = ["assign", "--pairs", str(tmp_path / "pairs.jsonl"), "--model", gan]
    assert main([*words, "--out", str(tmp_path / "o")]) == 1
    assert "no target could be used" in capsys.readouterr().err
    assert main(["assign", "--model", gan, "--out", str(tmp_path / "o")]) == 2
    words = [
        "assign",
        "--data",
        "digits",
        "--limit",
        "2",
        "--model",
        gan,
        "--out",
        str(tmp_path / "p"),
    ]
    assert main([*words, "--form", "helix"]) == 2
    assert "--form" in capsys.readouterr().err


SETTINGS = Assign(steps=6, batch_size=4).model_dump()


def assigned(gan, out, count=8, first=0, **options) -> dict:
    settings = SETTINGS | options.pop("settings", {})
    targets = of_images(load_images("digits"), first, count)
    return building.build(load_generator(gan), targets, out, settings, **options)


def test_a_rerun_keeps_what_is_done_adds_what_is_new_drops_nothing(gan, tmp_path):
    out = tmp_path / "o"
    assigned(gan, out, 6)
    first = read_assigned([out / "manifest.jsonl"])
    summary = assigned(gan, out, 6, first=4)
    assert summary["samples"] == 10 and summary["kept"] == 2
    moved = tmp_path / "elsewhere" / "dataset"
    shutil.move(out, shutil.os.makedirs(moved.parent) or moved)
    both = read_assigned([moved / "manifest.jsonl"])
    assert both.keys[:6] == first.keys and torch.equal(both.noise[:6], first.noise)
    whole = tmp_path / "whole"
    assigned(gan, whole, 10)
    again = read_assigned([whole / "manifest.jsonl"])
    assert again.keys == both.keys and torch.allclose(again.noise, both.noise, atol=1e-4)
    assert torch.equal(again.base, both.base)
    with pytest.raises(BadInput, match="holds assignments with steps 6, now it is 7"):
        assigned(gan, whole, 2, settings={"steps": 7})
    with pytest.raises(BadInput, match="with seed 0, now it is 1"):
        assigned(gan, whole, 2, seed=1)
    summary = assigned(gan, whole, 2, settings={"steps": 7}, mirror=True)
    assert summary["samples"] == 2 and summary["kept"] == 0


def test_a_killed_assignment_goes_on(gan, tmp_path, monkeypatch):
    out, whole = tmp_path / "o", tmp_path / "whole"
    assigned(gan, whole, 8)
    real, calls = noise_assign.assign, []

    def dies(*args, **options):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args, **options)

    monkeypatch.setattr(building, "assign", dies)
    with pytest.raises(KeyboardInterrupt):
        assigned(gan, out, 8)
    assert not (out / "manifest.jsonl").exists()
    assert assigned(gan, out, 8)["kept"] == 4
    a, b = (read_assigned([folder / "manifest.jsonl"]) for folder in (out, whole))
    assert a.keys == b.keys and torch.equal(a.noise, b.noise)


def test_the_next_cycle_starts_from_the_last_assignment_and_never_rises(gan, tmp_path):
    """Same base noise, and under the new model no target is worse off than with its last noise."""
    other = load_generator(gan)
    with torch.no_grad():
        for value in other.module.parameters():
            value.mul_(1.05)
    other.save(tmp_path / "new")
    for form in ("sphere", "exp"):
        one, two = tmp_path / form / "1", tmp_path / form / "2"
        assigned(gan, one, 8, settings={"form": form})
        last = read_assigned([one / "manifest.jsonl"])
        options = dict(settings={"form": form, "lr": 1.0}, start=last)
        assigned(str(tmp_path / "new"), two, 10, **options)
        now = read_assigned([two / "manifest.jsonl"])
        assert torch.equal(now.base[:8], last.base)
        generator = load_generator(str(tmp_path / "new"))
        condition, targets = generator.embed(last.conditions), last.pixels()
        latents = generator.encode(targets)
        with torch.no_grad():
            before = noise_assign.reconstruction(
                generator, last.noise, condition, latents, targets, 1.0, 0.1
            )
            after = noise_assign.reconstruction(
                generator, now.noise[:8], condition, latents, targets, 1.0, 0.1
            )
        assert (after <= before + 1e-6).all()
        assert torch.allclose(after, torch.tensor(now.losses[:8]), atol=1e-5)


def test_broken_datasets_are_refused(gan, tmp_path):
    out = tmp_path / "o"
    assigned(gan, out, 4)
    manifest, block = out / "manifest.jsonl", next((out / "blocks").iterdir())
    text = manifest.read_text()
    for bad, says in (
        ("{", "cannot be read as a manifest"),
        ('{"id": 1}', "line 1: KeyError"),
        (text.replace("blocks/", "../../blocks/"), "leaves the dataset"),
        (text.replace("000000", "000009"), "cannot be read"),
        ("", "no sample in it"),
    ):
        manifest.write_text(bad)
        with pytest.raises(BadInput, match=says):
            read_assigned([manifest])
    block.write_bytes(block.read_bytes()[:100])
    with pytest.raises(BadInput, match="not a block"):
        assigned(gan, out, 4)
