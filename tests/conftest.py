"""Fixtures of several test files: an undisturbed run of the workflow, copies of it, a small GAN and its targets."""

import os
import shutil
from pathlib import Path

import pytest
from filelock import FileLock


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A folder in which the workflow has run undisturbed; the first pytest worker that needs it makes it."""
    from small_run import small_config, snakemake, write_inputs

    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "whole"
    with FileLock(folder.with_suffix(".lock")):
        if not (folder / "done").exists():
            write_inputs(folder, small_config())
            run = snakemake(folder)
            assert run.returncode == 0, run.stdout + run.stderr
            (folder / "done").touch()
    return folder


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of the finished folder, with its times, in which a test may change files."""
    return Path(shutil.copytree(finished, tmp_path / "copy", symlinks=True))


@pytest.fixture(scope="session")
def gan(tmp_path_factory):
    """The folder of a small untrained GAN of 8×8 grey images."""
    import torch

    from ttsnap.sft.gan import GanGenerator, save_gan

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("gan")
    save_gan(GanGenerator(1, 8, 16, 8, [str(n) for n in range(10)]), folder)
    return str(folder)


@pytest.fixture(scope="session")
def manifest(gan, tmp_path_factory):
    """20 digits with noise assigned for that GAN."""
    from ttsnap.settings.sft import Assign
    from ttsnap.sft.assignment import assign_targets
    from ttsnap.sft.data import load_images
    from ttsnap.sft.generators import load_generator
    from ttsnap.sft.targets import labelled_targets

    out = tmp_path_factory.mktemp("assigned")
    targets = labelled_targets(load_images("digits"), 0, 20)
    assign_targets(load_generator(gan), targets, out, Assign(steps=10).model_dump())
    return str(out / "manifest.jsonl")
