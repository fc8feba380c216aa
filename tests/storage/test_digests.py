"""The digests of targets cover the content that is read, and no times, neighbouring files or their order."""

import gzip
import json
import os
import shutil

import pytest

from ttsnap.sft.data import data_files, load_images
from ttsnap.sft.digests import data_digest, pair_lines, pairs_digest


@pytest.fixture
def pairs(tmp_path):
    """A checkout with pairs.jsonl in its root: four pairs, the images beside it and below."""
    (tmp_path / "pictures").mkdir()
    lines = []
    for n in range(4):
        name = f"{n}.png" if n % 2 else f"pictures/{n}.png"
        (tmp_path / name).write_bytes(f"picture {n}".encode())
        lines.append(json.dumps({"prompt": f"a thing {n}", "image": name}))
    (tmp_path / "pairs.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path


def digest(folder, root=None, start=0, limit=2):
    return pairs_digest(str(folder / "pairs.jsonl"), root, "prompt", "image", start, limit)


def edit_line(folder, number, **change):
    lines = (folder / "pairs.jsonl").read_text().splitlines()
    lines[number] = json.dumps(json.loads(lines[number]) | change)
    (folder / "pairs.jsonl").write_text("\n".join(lines) + "\n")


def copied_over(folder):
    shutil.copyfile(folder / "1.png", folder / "same")
    (folder / "1.png").unlink()
    shutil.copyfile(folder / "same", folder / "1.png")


NOT_READ = {
    "a note": lambda f: (f / "notes.txt").write_text("x"),
    "results": lambda f: shutil.copytree(f / "pictures", f / "results/images"),
    "the same bytes again": copied_over,
    "another time": lambda f: os.utime(f / "1.png", (1, 1)),
    "an image of another part": lambda f: (f / "3.png").write_bytes(b"other"),
    "a line of another part": lambda f: edit_line(f, 2, prompt="other"),
    "a line added": lambda f: (f / "pairs.jsonl").open("a").write('{"prompt": "x", "image": "y"}\n'),
    "a blank line": lambda f: (f / "pairs.jsonl").write_text("\n" + (f / "pairs.jsonl").read_text()),
    "a field that is not read": lambda f: edit_line(f, 0, source="me"),
    "a pipe": lambda f: os.mkfifo(f / "pipe"),
}  # fmt: skip
READ = {
    "an image": lambda f: (f / "pictures/0.png").write_bytes(b"picture 9"),
    "an image taken away": lambda f: (f / "1.png").unlink(),
    "a prompt": lambda f: edit_line(f, 1, prompt="other"),
    "which image": lambda f: edit_line(f, 1, image="3.png"),
    "the order": lambda f: (f / "pairs.jsonl").write_text(
        "\n".join(reversed((f / "pairs.jsonl").read_text().splitlines()[:2]))
    ),
}


@pytest.mark.parametrize("change", NOT_READ)
def test_data_that_is_not_read_does_not_count(pairs, change):
    before = digest(pairs)
    NOT_READ[change](pairs)
    assert digest(pairs) == before


@pytest.mark.parametrize("change", READ)
def test_data_that_is_read_counts(pairs, change):
    before, others = digest(pairs), digest(pairs, start=2)
    READ[change](pairs)
    assert digest(pairs) != before
    if change != "the order":
        assert digest(pairs, start=2) == others


def test_the_location_of_the_data_does_not_count(pairs, tmp_path):
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("pictures", "1.png", "3.png", "pairs.jsonl"):
        shutil.move(pairs / name, moved / name)
    before = digest(moved)
    shutil.move(moved / "pairs.jsonl", pairs / "pairs.jsonl")
    assert digest(pairs, str(moved)) == before != digest(pairs)


@pytest.mark.parametrize(
    "line",
    [b"no JSON", b"[1]", b'{"prompt": 1, "image": "1.png"}', b'{"prompt": "a"}', b"\xff",
     b'{"prompt": "a", "image": "\\u0000"}', b'{"prompt": "a", "image": "\\ud800"}',
     b'{"prompt": "a", "image": "pipe"}', b'{"prompt": "a", "image": "pictures"}'],
)  # fmt: skip
def test_a_malformed_line_has_a_digest_too(pairs, line):
    os.mkfifo(pairs / "pipe")
    (pairs / "pairs.jsonl").write_bytes(line + b"\n\n" + line)
    assert len(pair_lines(str(pairs / "pairs.jsonl"))) == 2
    assert len(digest(pairs)) == 16


def idx(values: bytes, *shape: int) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in shape)
    return bytes([0, 0, 8, len(shape)]) + sizes + values


@pytest.fixture
def mnist(tmp_path):
    for start in ("train", "t10k"):
        (tmp_path / f"{start}-images-idx3-ubyte").write_bytes(idx(bytes(2 * 16), 2, 4, 4))
        (tmp_path / f"{start}-labels-idx1-ubyte").write_bytes(idx(bytes(2), 2))
    return tmp_path


def test_the_digest_of_a_data_set_covers_the_files_of_its_split(mnist):
    assert len(load_images("mnist", mnist).images) == 2
    before = data_digest("mnist", str(mnist), "train")
    (mnist / "notes.txt").write_text("x")
    (mnist / "t10k-images-idx3-ubyte").write_bytes(idx(bytes([1] * 32), 2, 4, 4))
    os.utime(mnist / "train-labels-idx1-ubyte", (1, 1))
    assert data_digest("mnist", str(mnist), "train") == before
    (mnist / "train-labels-idx1-ubyte").write_bytes(idx(b"\0\1", 2))
    assert data_digest("mnist", str(mnist), "train") != before


def test_data_files_names_the_files_that_are_read(mnist, monkeypatch):
    for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"):
        (mnist / f"{name}.gz").write_bytes(gzip.compress((mnist / name).read_bytes()))
        (mnist / name).unlink()
    assert [path.suffix for path in data_files("mnist", mnist, "train")] == [".gz", ".gz"]
    assert len(load_images("mnist", mnist).images) == 2
    inner = mnist / "cifar-10-batches-bin"
    inner.mkdir()
    for path in data_files("cifar10", mnist, "train"):
        assert path.parent == inner
        path.write_bytes(bytes(3073))
    assert len(load_images("cifar10", mnist).images) == 5
    monkeypatch.chdir(mnist)
    assert data_files("digits", None, "train") == data_files("mnist", None, "train") == []
