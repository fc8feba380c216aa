"""Training in two processes, or in parts of a batch, equals training in one process on the whole batch."""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest
import yaml
from finetuning import data, finetune_words, held_out, settings
from levels import write_training
from safetensors.torch import load_file
from small_run import snakemake

from ttsnap.finetune import train
from ttsnap.rewards.base import load_reward
from ttsnap.rewards.levels import make_trainable
from ttsnap.training.processes import Processes


def trained(clip, **changes):
    """(weights, losses) after training with some settings; in float64, since Adam amplifies rounding."""
    reward = load_reward("pickscore", path=clip).double()
    parameters = make_trainable(reward, None)
    options = settings(epochs=3, lr=1e-4, **changes)
    return parameters, train.train_level(reward, parameters, data(), options, seed=0)


def same(a, b, start, share=0.001):
    """Whether two trainings end alike: their difference is small compared with how far they moved."""
    moved = sum((a[n] - start[n]).detach().norm() ** 2 for n in a) ** 0.5
    apart = sum((a[n] - b[n]).detach().norm() ** 2 for n in a) ** 0.5
    return apart < share * moved


@pytest.mark.parametrize("loss", ["mse", "preference"])
def test_parts_of_a_batch_add_up(clip, loss):
    whole, losses = trained(clip, batch_size=16, loss=loss)
    parts, losses_in_parts = trained(clip, batch_size=4, accumulate=4, loss=loss)
    other, _ = trained(clip, batch_size=4, loss=loss)
    start = dict(load_reward("pickscore", path=clip).named_parameters())
    np.testing.assert_allclose(losses_in_parts, losses, rtol=1e-3)
    assert same(whole, parts, start) and not same(whole, other, start)


def test_processes_share_a_step_among_them():
    step = list(range(10))
    shares = [train.share(step, 2, Processes(rank, 3)) for rank in range(3)]
    assert shares == [[[0, 1], [6, 7]], [[2, 3], [8, 9]], [[4, 5]]]


def test_reading_ahead_keeps_the_order():
    for count in range(5):
        assert list(train.read_ahead(lambda x: x * x, list(range(count)))) == [x * x for x in range(count)]
    with pytest.raises(ZeroDivisionError):
        list(train.read_ahead(lambda x: 1 // x, [1, 0]))


@pytest.mark.slow
def test_two_processes_are_as_one_with_double_batch(clip, tmp_path):
    """The command itself, in the environment that `accelerate launch` and torchrun set."""
    reward = load_reward("pickscore", path=clip)
    write_training(tmp_path, "train", data(0), reward)
    write_training(tmp_path, "validation", held_out(candidates=6), reward)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    runs = [("alone", 16, {})]
    runs += [("shared", 8, {**shared, "RANK": str(r), "WORLD_SIZE": "2"}) for r in (0, 1)]
    started = []
    for name, size, environment in runs:
        words = finetune_words(clip, tmp_path, tmp_path / name, lr=3e-4, epochs=4, batch_size=size)
        started.append(subprocess.Popen([sys.executable, "-m", "ttsnap", *words], env=os.environ | environment))
    assert [process.wait(1200) for process in started] == [0, 0, 0]
    alone, shared = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("alone", "shared"))
    np.testing.assert_allclose(shared["loss"], alone["loss"], rtol=0.03)
    assert shared["validation_tau_trained"] == pytest.approx(alone["validation_tau_trained"], abs=0.1)
    assert alone["kept"] == shared["kept"] == "trained"
    weights = [load_file(tmp_path / f"{name}.safetensors") for name in ("alone", "shared")]
    assert same(*weights, dict(load_reward("pickscore", path=clip).named_parameters()), share=0.1)


@pytest.mark.slow
def test_the_workflow_starts_a_process_for_each_gpu_of_a_rule(copied, monkeypatch):
    """A real `accelerate launch` on two pretended GPUs: two processes are as one with double batch."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    level = copied / "results/levels/pickscore/5.json"
    alone = json.loads(level.read_text())["loss"]
    config = yaml.safe_load((copied / "config.yaml").read_text())
    assert config["rewards"]["pickscore"]["finetune"]["batch_size"] >= 24  # all images at once
    config["rewards"]["pickscore"]["finetune"]["batch_size"] = 12
    (copied / "config.yaml").write_text(yaml.safe_dump(config))
    target = "results/levels/pickscore/5.safetensors"
    run = snakemake(copied, target, "--set-resources", "finetune:gpu=2", "--printshellcmds")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "--num_processes 2" in run.stdout + run.stderr
    assert json.loads(level.read_text())["loss"] == pytest.approx(alone, rel=1e-3)
