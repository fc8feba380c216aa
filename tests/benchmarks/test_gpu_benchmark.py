"""benchmarks/gpu.py: on small models it gives every figure; without a GPU it says so in one line."""

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
    for of in figures.values():
        assert all(value > 0 for value in of.values())
        assert all(row in page for row in of)
        # The same FLOP buy more candidates, and are not exceeded.
        assert of["TTSnap: candidates"] > of["best-of-N: candidates"]
        assert 0.6 < of["TTSnap: TFLOP"] / of["best-of-N: TFLOP"] <= 1
        assert 0 < of["TTSnap: share of looks by full decode"] < 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_without_a_gpu_it_says_so(tmp_path):
    run = call(tmp_path)
    assert run.returncode == 1 and not list(tmp_path.iterdir())
    assert run.stderr.strip() == "benchmarks/gpu.py: no GPU here; --tiny tries the script on the CPU"
