"""The recipe of the embedded models, run for real at a small scale."""

import json

import pytest

from recipe.__main__ import main


@pytest.mark.long
def test_the_recipe_makes_models_that_open(tmp_path):
    from ttsnap.rewards.base import load_reward
    from ttsnap.samplers import load_sampler

    for part in ("vae", "generator", "reward"):
        assert main(["train-shapes", part, "--out", str(tmp_path), "--scale", "0.005", "--device", "cpu"]) == 0
        assert json.loads((tmp_path / f"{part}.json").read_text())["seconds"] > 0
    load_sampler(tmp_path / "shapes-sdxl", steps=4, guidance=1.0, height=64, width=64)
    head = tmp_path / "shapes-aesthetic/head.safetensors"
    load_reward("aesthetic", path=str(tmp_path / "shapes-clip"), head=str(head))
    for card in ("shapes-sdxl", "shapes-clip"):
        assert "Measured" in (tmp_path / card / "README.md").read_text()


def test_the_one_step_pipeline_is_distilled_and_judged(tmp_path):
    from ttsnap.models import resolve

    (tmp_path / "shapes-sdxl").symlink_to(resolve("embedded:shapes-sdxl"))
    words = ["--out", str(tmp_path), "--scale", "0.0005", "--device", "cpu"]
    assert main(["train-shapes", "onestep", *words]) == 0
    figures = json.loads((tmp_path / "onestep.json").read_text())
    assert {f"accepted_{objects}" for objects in (1, 2, 3)} <= set(figures)
    assert "Accepted by the checker" in (tmp_path / "shapes-onestep/README.md").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["generator", "--out", "new"], "vae/config.json: no such file"),
        (["vae", "--out", "o", "--scale", "1e12"], "--scale: "),
        (["vae", "--out", "o", "--scale", "nan"], "--scale: "),
    ],
)
def test_what_it_cannot_do_is_one_line(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    assert main(["train-shapes", *words]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and message in lines[0]
    assert not list(tmp_path.iterdir())
