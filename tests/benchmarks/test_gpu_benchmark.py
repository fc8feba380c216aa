"""benchmarks/gpu.py: every figure on small models; a one-line message without a GPU."""

import json
import subprocess
import sys

import pytest
import torch
from small_run import ROOT


def call(folder, *words: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(ROOT / "benchmarks/gpu.py"), *words], capture_output=True, text=True, cwd=folder
    )


def test_every_figure_of_both_models(tmp_path):
    run = call(tmp_path, "--tiny", "--out", "page.md", "--json", "figures.json")
    assert run.returncode == 0, run.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert set(figures) == {"SDXL, guided", "FLUX.1-dev"}
    page = (tmp_path / "page.md").read_text()
    for rows in figures.values():
        assert all(value > 0 for value in rows.values())
        assert all(name in page for name in rows)
        # The same FLOP buy more candidates and are not exceeded.
        assert rows["TTSnap: candidates"] > rows["best-of-N: candidates"]
        assert 0.6 < rows["TTSnap: TFLOP"] / rows["best-of-N: TFLOP"] <= 1
        assert 0 < rows["TTSnap: share of looks by full decode"] < 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_it_says_so(tmp_path):
    run = call(tmp_path)
    assert run.returncode == 1 and not list(tmp_path.iterdir())
    assert run.stderr.strip() == "benchmarks/gpu.py: no GPU here; --tiny tries the script on the CPU"
