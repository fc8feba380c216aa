"""Each reader reports why a file cannot be read, and suggests deleting or remaking it only for broken bytes."""

import contextlib
import errno
import fcntl
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from ttsnap.errors import BadInput
from ttsnap.rewards.levels import save_level
from ttsnap.rewards.weights import read_architecture, read_weights
from ttsnap.settings.config import load_config
from ttsnap.sft.classifier import Classifier, load_classifier, save_classifier
from ttsnap.sft.data import read_idx
from ttsnap.sft.gan import GanGenerator, load_gan, save_gan
from ttsnap.sft.records import has_samples, read_assigned, read_blocks, write_block, write_manifest
from ttsnap.sft.targets import pair_targets
from ttsnap.storage.checkpoints import read_about
from ttsnap.storage.files import reading, why_unreadable
from ttsnap.storage.image_shards import read_shard, write_shard
from ttsnap.storage.images import read_rgb
from ttsnap.storage.prompts import read_prompts
from ttsnap.storage.published import read_values
from ttsnap.storage.scores import Scores, read_scores, write_scores
from ttsnap.storage.tensor import RewardTensor, read_tensor, write_tensor
from ttsnap.storage.tree import find_tree
from ttsnap.training.states import read_state

NET = {"latent": 4, "channels": 1, "size": 8, "classes": ["0"], "width": 4}


def shard(path):
    rng = np.random.default_rng(0)
    write_shard(path, ["a"], [0], [rng.integers(0, 256, (2, 1, 8, 8, 3), np.uint8)], {"model": "m"})


def block(path):
    tensors = {name: torch.ones(1, 4) for name in ("noise", "base", "image")}
    record = {"id": "x", "index": 0, "prompt": "a", "loss": 1.0}
    write_block(path.parents[1], tensors, {}, [record], [])
    write_manifest(path.parents[1], read_blocks(path.parents[1]))


def training(path):
    torch.save({"identity": "me", "values": {"w": torch.ones(9)}, "history": [1.0]}, path)


def continued(path):
    return read_state(path, "me", ("values", "history"), {"w": torch.zeros(9)})


def gan(path):
    save_gan(GanGenerator(**NET), path.parent)


def idx(path):
    path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 2, 1, 2]))


def text(content: str):
    return lambda path: path.write_text(content)


ABOUT = {"level": 1, "lora": None, "version": "v", "reward": {}, "images": {}}
# reader → (file, writes a good one, reads it)
READERS = {
    "shard": ("s.h5", shard, read_shard),
    "images of a shard": ("s.h5", shard, None),
    "scores": (
        "s.h5",
        lambda path: write_scores(path, Scores(np.ones((1, 1, 1)), [0], ["a"], {"kind": "base"}, ["d"])),
        read_scores,
    ),
    "tensor": ("t.h5", lambda path: write_tensor(path, RewardTensor(np.ones((1, 2, 2)))), read_tensor),
    "level": (
        "l.safetensors",
        lambda path: save_level(path, {"w": torch.ones(9)}, ABOUT),
        read_about,
    ),
    "blocks": ("blocks/000000.safetensors", block, lambda path: read_blocks(path.parents[1])),
    "block": (
        "blocks/000000.safetensors",
        block,
        lambda path: read_assigned([path.parents[1] / "manifest.jsonl"]),
    ),
    "manifest": ("manifest.jsonl", text('{"block": 1}'), has_samples),
    "weights": ("w.safetensors", lambda path: save_file({"w": torch.ones(9)}, path), read_weights),
    "torch weights": ("w.pt", lambda path: torch.save({"w": torch.ones(9)}, path), read_weights),
    "classifier": ("c.safetensors", lambda p: save_classifier(Classifier(1, 2), p), load_classifier),
    "gan": ("generator.safetensors", gan, lambda path: load_gan(path.parent)),
    "gan's config": ("config.json", gan, lambda path: load_gan(path.parent)),
    "architecture": ("a.json", text("{}"), read_architecture),
    "prompts": ("p.json", text('["a"]'), read_prompts),
    "pairs": ("p.jsonl", text("{}"), lambda path: list(pair_targets(path))),
    "data set": ("t-idx1-ubyte", idx, lambda path: read_idx(path, 1)),
    "values": ("p1_i1_s00.yaml", text("0: [1.0]"), lambda path: read_values(path.parent)),
    "config": ("c.yaml", text("{}"), load_config),
    "image": ("i.png", lambda path: Image.new("RGB", (8, 8)).save(path), read_rgb),
    "state": ("s.pt", training, continued),
}  # fmt: skip
HDF5 = ("shard", "images of a shard", "scores", "tensor")
DESTROYS = re.compile("delete|damaged|truncated|again|not a|broken|fetch")


@pytest.fixture
def folder():
    """A folder that any user may read, unlike pytest's."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


def prepare(folder: Path, reader: str):
    """A good file for a reader, and the call that reads it."""
    name, write, read = READERS[reader]
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    write(path)
    if read is None:
        whole = read_shard(path)
        return path, lambda: whole.images(0)
    if reader != "config":  # an empty one is refused for what it says
        read(path)
    return path, lambda: read(path)


def says(read) -> str:
    with pytest.raises(BadInput) as error:
        read()
    assert "\n" not in (line := str(error.value)) and len(line) < 500
    return line


@contextlib.contextmanager
def forbidden(path: Path):
    """Without permission to read the file; root drops to another user for that."""
    path.chmod(0)
    if root := os.geteuid() == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@contextlib.contextmanager
def used_up(path: Path):
    """With no file descriptors left."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@contextlib.contextmanager
def gone(path: Path):
    path.unlink()
    yield


@contextlib.contextmanager
def replaced(path: Path):
    path.unlink()
    path.mkdir()
    yield


CAUSES = {
    "no right": (forbidden, "this user may not read it"),
    "too many files": (used_up, "too many files are open"),
    "missing": (gone, "no such file"),
    "a folder": (replaced, "folder|not a file"),
}


@pytest.mark.parametrize("cause", CAUSES)
@pytest.mark.parametrize("reader", READERS)
def test_the_cause_is_named_without_advice_to_delete(folder, reader, cause):
    if cause == "missing" and reader in ("blocks", "state", "values"):
        pytest.skip("none there is fine")
    path, read = prepare(folder, reader)
    happens, words = CAUSES[cause]
    with happens(path):
        line = says(read)
    assert str(folder) in line and re.search(words, line), line
    if cause in ("no right", "too many files"):
        assert not DESTROYS.search(line.split(": ", 1)[1].replace("run it again", "")), line


def test_unreadable_folders_are_not_called_missing(folder):
    for candidate in ("id000", "id001"):
        path = folder / "p0000" / candidate / "s00.png"
        path.parent.mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(path)
    for hidden in (path.parent, folder / "p0000"):
        with forbidden(hidden):
            line = says(lambda: find_tree(folder))
        assert line.startswith(f"{hidden}: this user may not read it")
        hidden.chmod(0o755)


@pytest.mark.parametrize("reader", HDF5)
def test_a_locked_file_is_not_called_broken(folder, reader):
    path, read = prepare(folder, reader)
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        line = says(read)
    assert "locked: another process has it open for writing" in line and "delete" not in line
    read()


def test_a_real_writer_in_another_process_is_reported(folder):
    path, read = prepare(folder, "tensor")
    code = "import h5py, sys; f = h5py.File(sys.argv[1], 'r+'); print(1, flush=True); input()"
    words = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        writer.stdout.readline()
        line = says(read)
        writer.communicate(b"\n")
    assert "locked" in line and "HDF5_USE_FILE_LOCKING" in line
    read()


BROKEN = {
    "shard": "truncated or damaged .*; delete it and run its stage again",
    "images of a shard": "damaged .*; delete it",
    "scores": "truncated or damaged .*; delete it",
    "tensor": "not a whole reward tensor .*; delete it",
    "blocks": "not a whole block .*; delete it",
    "block": "damaged .*; run assign again",
    "level": "not a level checkpoint",
    "weights": "cut short or not a weights file .*; download it again",
    "torch weights": "not a weights file",
    "classifier": "not a classifier",
    "gan": "not a GAN",
    "gan's config": "not a GAN",
    "image": "not an image",
}


@pytest.mark.parametrize("reader", BROKEN)
def test_broken_bytes_are_reported_with_a_remedy(folder, reader):
    path, read = prepare(folder, reader)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    assert re.search(BROKEN[reader], line := says(read)), line


def test_no_advice_to_delete_a_users_file(folder):
    (folder / "mine.h5").write_text("my thesis")
    line = says(lambda: read_shard(folder / "mine.h5"))
    assert line.endswith("mine.h5: not an HDF5 file; name one that ttsnap wrote")
    (folder / "blocks").mkdir()
    save_file({"w": torch.ones(1)}, folder / "blocks" / "000000.safetensors")
    line = says(lambda: read_blocks(folder))
    assert "move it elsewhere" in line and "delete" not in line


@pytest.mark.parametrize("harm", [lambda data: data[:50], lambda data: b"", lambda data: b"<html>"])
def test_training_restarts_after_a_broken_state_with_a_note(folder, harm, capsys):
    path, read = prepare(folder, "state")
    assert read()["history"] == [1.0]
    path.write_bytes(harm(path.read_bytes()))
    assert read() is None
    assert "a broken saved state" in (note := capsys.readouterr().err) and note.count("\n") == 1
    assert path.exists()


def test_a_state_of_another_run_or_of_other_weights_is_not_used(folder, capsys):
    path, _ = prepare(folder, "state")
    assert read_state(path, "you", ("values",), {"w": torch.zeros(9)}) is None
    assert not capsys.readouterr().err
    assert read_state(path, "me", ("values",), {"w": torch.zeros(8)}) is None
    assert "other weights" in capsys.readouterr().err


ERRORS = {
    "HDF5's lock": (OSError("Unable to open file (unable to lock file, errno = 11)"), "locked"),
    "a lock": (BlockingIOError(errno.EAGAIN, "x"), "locked"),
    "no locks": (OSError("unable to lock file, errno = 37, 'No locks available'"), "LOCKING=FALSE"),
    "a writer killed": (OSError("file is already open for write"), "locked"),
    "the disk": (OSError(errno.EIO, "Input/output error"), "its disk gave an error"),
    "HDF5 on the disk": (OSError("Can't read data (file read failed: errno = 5)"), "its disk"),
    "NFS": (OSError(errno.ESTALE, "Stale file handle"), "its disk"),
    "squashed root": (PermissionError(errno.EACCES, "x"), "may not read it"),
    "forbidden": (PermissionError(errno.EPERM, "x"), "may not read it"),
    "in Rust": (Exception("Permission denied (os error 13)"), "may not read it"),
    "memory": (MemoryError(), "memory ran out"),
    "another": (OSError(errno.ENXIO, "x"), "No such device"),
}


@pytest.mark.parametrize("kind", ERRORS)
def test_errors_of_libraries_are_recognised(folder, kind):
    error, words = ERRORS[kind]
    path = folder / "whole"
    path.write_text("all there")
    assert words in why_unreadable(path, error)

    def read():
        with reading(path, "broken", "delete it"):
            raise error

    assert words in (line := says(read)) and "delete" not in line
    assert shutil.os.path.exists(path)


def test_other_errors_mean_bad_bytes(folder):
    (folder / "whole").write_text("all there")
    assert why_unreadable(folder / "whole", ValueError("no JSON")) is None


def test_hdf5_with_a_part_missing_is_refused(folder):
    shard(folder / "s.h5")
    for part in ("steps", "prompts"):
        with h5py.File(folder / "s.h5", "r+") as file:
            del file[part]
        assert "s.h5" in says(lambda: read_shard(folder / "s.h5"))
