"""Finetuning on assigned and random noise: losses, checkpoints, adapters, resuming, processes."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ttsnap.cli import main
from ttsnap.errors import TtsnapError
from ttsnap.settings.sft import Train
from ttsnap.sft.generator import base_noise
from ttsnap.sft.generators import load_generator
from ttsnap.sft.records import read_assigned
from ttsnap.sft.train import Trainer
from ttsnap.training import run as training
from ttsnap.training.weights import merged, trainable


def trainer(gan, manifest, teacher=None, noise="assigned", **settings) -> Trainer:
    options = {"epochs": 3, "batch_size": 8, "lr": 1e-3, "preserve_pixel": 0.1} | settings
    data = read_assigned([manifest])
    models = load_generator(gan), load_generator(teacher or gan)
    return Trainer(*models, data, Train(**options).model_dump(), noise=noise, seed=1)


@pytest.mark.parametrize("settings", [{}, {"lora": {"rank": 2, "alpha": 4}}, {"ema": 0.5}])
def test_training_fits_and_the_checkpoint_is_what_was_trained(gan, manifest, tmp_path, settings):
    run = trainer(gan, manifest, epochs=10, **settings)
    generator, data = run.generator, read_assigned([manifest])
    teacher_before = {k: v.clone() for k, v in run.teacher.module.state_dict().items()}
    made = {}

    def keep(means):
        condition = generator.embed(data.conditions)
        with torch.no_grad(), merged(generator.module):
            generator.save(tmp_path / "c")
            made["latents"] = generator.latents(data.noise, condition)

    history = run.run(on_epoch=keep)
    assert len(history["total"]) == 30
    assert np.mean(history["fit"][-3:]) < 0.95 * np.mean(history["fit"][:3])
    opened = load_generator(str(tmp_path / "c"))
    with torch.no_grad():
        found = opened.latents(data.noise, opened.embed(data.conditions))
    assert torch.allclose(found, made["latents"], atol=1e-5)
    for name, value in run.teacher.module.state_dict().items():
        assert torch.equal(value, teacher_before[name])


def test_adapters_leave_the_module_as_it_was_when_merging_ends(gan):
    module = load_generator(gan).module
    before = {name: value.clone() for name, value in module.state_dict().items()}
    parameters = trainable(module, {"rank": 2, "alpha": 4})
    assert parameters and all("lora_" in name for name in parameters)
    with torch.no_grad():
        for value in parameters.values():
            value.normal_()
    z, labels = torch.randn(3, 16), torch.tensor([1, 2, 3])
    with torch.no_grad():
        adapted = module(z, labels)
        with merged(module):
            assert set(module.state_dict()) == set(before)
            assert torch.allclose(module(z, labels), adapted, atol=1e-5)
            assert not torch.equal(module.start.weight, before["start.weight"])
        assert torch.equal(module(z, labels), adapted)


def test_the_preserve_loss_holds_the_student_at_the_original(gan, manifest):
    def drift(weight: float) -> float:
        run = trainer(gan, manifest, epochs=10, preserve_latent=weight, preserve_pixel=0.0)
        run.run()
        noise = base_noise(run.generator, 5, [str(n) for n in range(50)])
        condition = run.generator.embed(["3"] * 50)
        with torch.no_grad():
            gap = run.generator.latents(noise, condition) - run.teacher.latents(noise, condition)
        return float(gap.square().mean())

    assert drift(10.0) < 0.5 * drift(0.0)


def test_the_teacher_is_the_original_in_every_cycle(gan, manifest, tmp_path):
    """With a student that differs from the teacher, the first preserve loss is their distance."""
    other = load_generator(gan)
    with torch.no_grad():
        other.module.last.bias.add_(0.5)
    other.save(tmp_path / "student")
    assert trainer(gan, manifest, epochs=1).run()["preserve"][0] == 0
    history = trainer(str(tmp_path / "student"), manifest, teacher=gan, epochs=1).run()
    assert history["preserve"][0] > 1e-3


def test_random_noise_is_fresh_and_assigned_noise_fits_better(gan, manifest):
    random = trainer(gan, manifest, noise="random").run()
    assigned = trainer(gan, manifest).run()
    assert len(random["total"]) == len(assigned["total"])
    assert assigned["fit"][0] < random["fit"][0]
    run = trainer(gan, manifest, noise="random")
    assert not torch.equal(run._draw(1, 0, 4), run._draw(2, 0, 4))
    assert not torch.equal(run._draw(1, 0, 4), run._draw(1, 1, 4))


@pytest.mark.parametrize("settings", [{}, {"ema": 0.9}, {"lora": {"rank": 2, "alpha": 4}}])
def test_a_killed_run_ends_with_the_same_weights(gan, manifest, tmp_path, monkeypatch, capsys, settings):
    monkeypatch.setattr(training, "SAVE_EVERY", 0.0)
    whole = trainer(gan, manifest, **settings)
    expected = whole.run()
    first = trainer(gan, manifest, **settings)
    real = first._losses

    def dies(number, batch):
        if number == 5:
            raise KeyboardInterrupt
        return real(number, batch)

    first._losses = dies
    with pytest.raises(KeyboardInterrupt):
        first.run(tmp_path / "state.pt")
    epochs = []
    second = trainer(gan, manifest, **settings)
    capsys.readouterr()
    assert second.run(tmp_path / "state.pt", lambda means: epochs.append(len(means))) == expected
    assert epochs == [2, 3] and "sft: goes on after update 4 of 9" in capsys.readouterr().err
    for name, value in whole.parameters.items():
        assert torch.equal(value, second.parameters[name])
    if second.average:
        assert all(torch.equal(whole.average.values[k], v) for k, v in second.average.values.items())
    trainer(gan, manifest, **settings).run(tmp_path / "state.pt", lambda means: epochs.append(0))
    assert epochs[2:] == [0], "killed after its last update: only the last epoch ends again"
    capsys.readouterr()
    trainer(gan, manifest, **settings | {"lr": 2e-3}).run(tmp_path / "state.pt")
    assert "goes on" not in capsys.readouterr().err, "a state of another run"


def test_a_loss_that_is_not_finite_is_an_error(gan, manifest):
    run = trainer(gan, manifest)
    run.latents[:] = float("nan")
    with pytest.raises(TtsnapError, match="lower the learning rate"):
        run.run()


def sft_words(gan, manifest, out) -> list[str]:
    words = ["sft", "--manifest", manifest, "--model", gan, "--out", str(out), "--device", "cpu"]
    return [*words, "--epochs", "2", "--batch-size", "7", "--lr", "1e-3", "--threads", "1"]


def test_command_writes_best_final_and_every_epoch(gan, manifest, tmp_path):
    out = tmp_path / "o"
    words = [*sft_words(gan, manifest, out), "--state", str(tmp_path / "s.pt"), "--every-epoch"]
    assert main(words) == 0
    names = {path.name for path in out.iterdir()}
    assert names == {
        "checkpoint-best", "checkpoint-final", "checkpoint-epoch-001", "checkpoint-epoch-002",
        "train_history.png", "train_summary.json", ".ttsnap.json",
    }  # fmt: skip
    summary = json.loads((out / "train_summary.json").read_text())
    assert summary["updates"] == 6 and len(summary["epoch_loss"]) == 2
    assert not (tmp_path / "s.pt").exists()
    best = load_file(out / f"checkpoint-epoch-{summary['best_epoch']:03d}/generator.safetensors")
    for name, value in load_file(out / "checkpoint-best/generator.safetensors").items():
        assert torch.equal(value, best[name])


@pytest.mark.slow
def test_two_processes_give_the_result_of_one(gan, manifest, tmp_path):
    assert main(sft_words(gan, manifest, tmp_path / "one")) == 0
    launch = [
        sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2",
        "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no",
        "--main_process_port", "0", "-m", "ttsnap",
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [*launch, *sft_words(gan, manifest, tmp_path / "two")],
        capture_output=True, text=True, env=environment, timeout=1200,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    summary = json.loads((tmp_path / "two/train_summary.json").read_text())
    assert summary["processes"] == 2
    alone, shared = (load_file(tmp_path / n / "checkpoint-final/generator.safetensors") for n in ("one", "two"))
    start = load_file(f"{gan}/generator.safetensors")
    # Not bit for bit: sums are rounded in another order, and Adam divides by gradients that are nearly nothing.
    gap = sum(float((alone[name] - shared[name]).square().sum()) for name in alone)
    moved = sum(float((alone[name] - start[name]).square().sum()) for name in alone)
    assert gap < 1e-3 * moved
    other = json.loads((tmp_path / "one/train_summary.json").read_text())
    assert np.allclose(summary["history"]["total"], other["history"]["total"], rtol=1e-3)
