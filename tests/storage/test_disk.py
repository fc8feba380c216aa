"""A full disk and a read-only folder are reported in one line, and leave no partial file."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ttsnap.errors import TtsnapError
from ttsnap.storage.files import replacing, write_text
from ttsnap.storage.image_shards import write_shard

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="mounting a tiny disk needs root")


@pytest.fixture
def disk(tmp_path):
    """A disk of 8 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no tmpfs can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def write_images(path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = (rng.integers(0, 256, (6, 1, 64, 64, 3), dtype=np.uint8) for _ in range(90))
    write_shard(path, ["a"] * 90, [0], rows, {})


def write_weights(path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    with replacing(path) as temporary:
        save_file({"a": torch.zeros(4_000_000)}, temporary)


def write_state(path: Path) -> None:
    import torch

    with replacing(path) as temporary:
        torch.save({"a": torch.zeros(4_000_000)}, temporary)


WRITERS = {
    "text": lambda path: write_text(path, "x" * 16_000_000),
    "images": write_images,
    "weights": write_weights,
    "state": write_state,
}


@needs_root
@pytest.mark.parametrize("what", WRITERS)
def test_a_full_disk_is_reported_and_leaves_the_old_file(disk, what):
    path = disk / "folder" / "file"
    write_text(path, "old")
    with pytest.raises(TtsnapError, match="disk of .* is full; make room"):
        WRITERS[what](path)
    assert path.read_text() == "old"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


@needs_root
def test_a_read_only_folder_is_reported(disk):
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(TtsnapError, match="cannot be written .Read-only file system"):
        write_text(disk / "new" / "file", "x")
    with pytest.raises(TtsnapError, match="cannot be written .Read-only file system"):
        write_images(disk / "file")


@needs_root
def test_a_command_reports_it_in_one_line_and_fails(disk, tmp_path):
    (tmp_path / "prompts.txt").write_text("a red circle\n")
    (disk / "filler").write_bytes(b"x" * (5 << 20))
    run = subprocess.run(
        [sys.executable, "-m", "ttsnap", "shard", str(tmp_path / "prompts.txt")] + ["--out", str(disk / "0000.jsonl")],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1
    assert run.stderr == (f"ttsnap shard: {disk}/0000.jsonl: the disk of {disk} is full; make room and run it again\n")


def test_other_errors_pass_through(tmp_path):
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "file") as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())
