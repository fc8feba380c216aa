"""The recipe of the embedded models, run for real at a small scale."""

import json

import pytest

from recipe.__main__ import main


@pytest.mark.long
def test_the_recipe_makes_models_that_open(tmp_path):
    from ttsnap.rewards.base import load_reward
    from ttsnap.samplers import load_sampler

    for part in ("vae", "teacher", "generator", "reward"):
        assert main(["train-shapes", part, "--out", str(tmp_path), "--scale", "0.005", "--device", "cpu"]) == 0
        assert json.loads((tmp_path / f"{part}.json").read_text())["seconds"] > 0
    load_sampler(tmp_path / "shapes-sdxl", steps=4, guidance=0, height=64, width=64)
    head = tmp_path / "shapes-aesthetic/head.safetensors"
    load_reward("aesthetic", path=str(tmp_path / "shapes-clip"), head=str(head))
    for card in ("shapes-sdxl", "shapes-clip"):
        assert "Measured" in (tmp_path / card / "README.md").read_text()


def test_the_one_step_pipeline_is_distilled_and_judged(tmp_path):
    from ttsnap.models import resolve

    for name in ("shapes-sdxl", "shapes-clip"):
        (tmp_path / name).symlink_to(resolve(f"embedded:{name}"))
    words = ["--out", str(tmp_path), "--scale", "0.0005", "--device", "cpu"]
    assert main(["train-shapes", "onestep", *words]) == 0
    figures = json.loads((tmp_path / "onestep.json").read_text())
    assert {"tau", "accepted_1", "accepted_2", "accepted_3"} <= set(figures)
    assert "Kendall's τ within a caption" in (tmp_path / "shapes-onestep/README.md").read_text()


def test_the_look_decoder_is_taught_and_measured(tmp_path, caplog):
    from diffusers import AutoencoderTiny

    from recipe import look_decoder
    from ttsnap.models import resolve

    for name in ("shapes-sdxl", "shapes-clip"):
        (tmp_path / name).symlink_to(resolve(f"embedded:{name}"))
    words = ["--out", str(tmp_path), "--scale", "0.002", "--device", "cpu"]
    assert main(["train-shapes", "look_decoder", *words]) == 0
    figures = json.loads((tmp_path / "look_decoder.json").read_text())
    assert len(figures["agreement"]) == 20 + len(look_decoder.FEW_STEPS)
    final = figures["agreement"][19]
    assert final["look"] == "step 20" and final["full"] == 1
    card = (tmp_path / "shapes-taesd/README.md").read_text()
    assert "| step 20 | 1.000 |" in card and "draft of 3 steps" in card
    _, report = AutoencoderTiny.from_pretrained(tmp_path / "shapes-taesd", output_loading_info=True)
    assert not any(report.values())
    assert "not expected" not in caplog.text


def test_looks_depend_on_the_seed_alone_and_are_the_vaes():
    import torch

    from recipe.look_decoder import looks
    from ttsnap.models import resolve
    from ttsnap.rewards.groups import autocast
    from ttsnap.samplers import load_sampler, to_bytes

    how = dict(guidance=0, height=64, width=64)
    samplers = [load_sampler(resolve("embedded:shapes-sdxl"), steps=steps, **how) for steps in (2, 1)]
    latents, images = looks(samplers, 3, seed=0, at_once=2)
    assert latents.shape == (9, 4, 16, 16) and images.shape == (9, 3, 64, 64) and images.dtype == torch.uint8
    again, _ = looks(samplers, 3, seed=0, at_once=2)
    assert torch.equal(latents, again)
    assert not torch.equal(latents, looks(samplers, 3, seed=1, at_once=2)[0])
    with autocast("cpu"):
        assert torch.equal(images[:2], to_bytes(samplers[0].decode(latents[:2]), [""] * 2))


def test_agreement_is_paired_by_prompt():
    import numpy as np

    from recipe.look_decoder import agreement

    full = np.random.default_rng(0).standard_normal((5, 3, 4))  # prompts, two steps and a draft, candidates
    same = agreement(full, full, steps=2)
    assert len(same) == 3 and same[1]["full"] == same[1]["tiny"] == 1
    assert all(row["difference"] == {"value": 0, "low": 0, "high": 0} for row in same)
    row = agreement(full, -full, steps=2)[1]
    assert row["tiny"] == -1 and row["difference"]["value"] == -2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["teacher", "--out", "new"], "vae/config.json: no such file"),
        (["generator", "--out", "new"], "shapes-teacher/model_index.json: no such file"),
        (["look_decoder", "--out", "new"], "shapes-clip/config.json: no such file"),
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
