"""What several test files share: one undisturbed run of the workflow, and copies of it to change something in."""

import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A folder in which the workflow has run undisturbed."""
    from test_workflow import small_config, snakemake, write_inputs

    folder = tmp_path_factory.mktemp("run") / "whole"
    write_inputs(folder, small_config())
    run = snakemake(folder)
    assert run.returncode == 0, run.stdout + run.stderr
    return folder


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of the finished folder, times kept, to change something in."""
    return Path(shutil.copytree(finished, tmp_path / "copy", symlinks=True))
