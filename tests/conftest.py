"""What several test files share: one undisturbed run of the workflow, and copies of it to change something in."""

import os
import shutil
from pathlib import Path

import pytest
from filelock import FileLock


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A folder in which the workflow has run undisturbed; the first of pytest's processes to want it makes it."""
    from test_workflow import small_config, snakemake, write_inputs

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
    """A copy of the finished folder, times kept, to change something in."""
    return Path(shutil.copytree(finished, tmp_path / "copy", symlinks=True))
