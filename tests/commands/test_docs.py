"""Every `sh` and `python` block of the docs and the README works as written."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest
from small_run import ROOT, small_config, write_inputs
from tensors import write_values
from warm import warm_path

# `make demo` is what .ci/run does; it takes minutes. On Slurm: tests/workflow/test_slurm.py.
ELSEWHERE = ("make demo", "snakemake --profile slurm")


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / page).read_text()
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)
    return [re.sub(rf"^{indent}", "", body, flags=re.MULTILINE) for indent, body in found]


PAGES = ("docs/start.md", "docs/extend.md", "docs/cluster.md", "README.md")
COMMANDS = [
    line
    for page in PAGES
    for block in blocks(page, "sh")
    for line in block.splitlines()
    if line and line.partition("#")[0].strip() not in ELSEWHERE
]


def python(*words: str, cwd: Path) -> subprocess.CompletedProcess:
    environment = os.environ | {"PATH": warm_path()}
    return subprocess.run(["python", *words], capture_output=True, text=True, cwd=cwd, env=environment)


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_docs_works(line, tmp_path):
    write_inputs(tmp_path, small_config())
    for name in ("Snakefile", "workflow", "profiles", "slurm", "ttsnap", "envs"):
        (tmp_path / name).symlink_to(ROOT / name)
    run = python("-m", *shlex.split(line, comments=True), cwd=tmp_path)
    assert run.returncode == 0, run.stderr


PYTHON = [(page, number) for page in PAGES for number in range(len(blocks(page, "python")))]


@pytest.mark.parametrize(("page", "number"), PYTHON, ids=str)
def test_python_of_the_docs_runs(page, number, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(blocks(page, "python")[number], f"{page} {number}", "exec"), {})


def test_links_lead_somewhere():
    for page in [*(ROOT / "docs").glob("*.md"), ROOT / "README.md"]:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_cluster_page_names_what_is_there():
    text = (ROOT / "docs/cluster.md").read_text()
    profile = (ROOT / "profiles/slurm/config.yaml").read_text()
    for key in ("default-resources", "slurm-partition-config", "set-resources", "jobs:", "limits="):
        assert key in profile and key in text
    assert Path(ROOT / "slurm").resolve() == ROOT / "profiles/slurm"


def test_the_page_on_the_simulator_runs_as_written(tmp_path):
    """On values of the published kind, fewer candidates and evaluations apart."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(200, 20, 20))
    values += values[:, :, -1:]
    write_values(tmp_path / "flux_imr_val_base", values.astype(np.float16))
    write_values(tmp_path / "flux_imr_val_naft", values[:, :, :15].astype(np.float16))
    (block,) = blocks("docs/simulate.md", "sh")
    for line in block.replace("\\\n", "").splitlines():
        few = ["--evaluations", "20"] if "fit-schedule" in line else []
        run = python("-m", *shlex.split(line), *few, cwd=tmp_path)
        assert run.returncode == 0, run.stderr
    assert all((tmp_path / f"out.{kind}").stat().st_size for kind in ("json", "csv", "png"))
