"""What the docs say to type works: every `sh` block is run, every `python` block too."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from test_workflow import ROOT, small_config, write_inputs

# `make demo` is what .ci/run does; it takes minutes.
ELSEWHERE = ("make demo",)


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / "docs" / page).read_text()
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)
    return [re.sub(rf"^{indent}", "", body, flags=re.MULTILINE) for indent, body in found]


COMMANDS = [
    line
    for page in ("start.md", "extend.md")
    for block in blocks(page, "sh")
    for line in block.splitlines()
    if line and line not in ELSEWHERE
]


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_docs_works(line, tmp_path):
    write_inputs(tmp_path, small_config())
    for name in ("Snakefile", "workflow", "profiles", "slurm", "ttsnap", "envs"):
        (tmp_path / name).symlink_to(ROOT / name)
    words = [sys.executable, "-m", *shlex.split(line)]
    run = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("number", range(len(blocks("extend.md", "python"))))
def test_python_of_the_docs_runs(number):
    exec(compile(blocks("extend.md", "python")[number], f"extend.md {number}", "exec"), {})


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
