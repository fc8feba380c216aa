"""Losses, level checkpoints, and a finetuning that learns, resumes and keeps the better weights."""

import numpy as np
import pytest
import torch
from finetuning import data, finetune_words, held_out, settings
from levels import level_about, write_training

from ttsnap.cli import main
from ttsnap.errors import BadInput, TtsnapError
from ttsnap.finetune import losses, train
from ttsnap.rewards.base import load_reward
from ttsnap.rewards.groups import predict
from ttsnap.rewards.levels import load_level, make_trainable, save_level
from ttsnap.storage.checkpoints import read_about
from ttsnap.storage.files import read_json
from ttsnap.training import run as training


def test_preference_loss_is_bradley_terry():
    predicted = torch.tensor([[1.0, 0.5, 0.5]])
    target = torch.tensor([[3.0, 1.0, 1.0]])
    expected = -torch.nn.functional.logsigmoid(torch.tensor(0.5 / 0.5))
    assert torch.isclose(losses.preference(predicted, target), expected)
    assert losses.preference(predicted, torch.zeros(1, 3)) == 0


def test_standardised_mse_ignores_scale_and_offset():
    values = torch.randn(5, 8)
    assert losses.mse(3 * values + 2, values, "prompt") < 1e-5
    assert losses.mse(3 * values + 2, values, "batch") < 1e-5
    assert losses.mse(3 * values + 2, values, "none") > 1
    offsets = values + torch.arange(5.0)[:, None]
    assert losses.mse(offsets, values, "prompt") < 1e-5 < losses.mse(offsets, values, "batch")
    assert losses.mse(offsets, values, "centre") < 1e-5 < 1 < losses.mse(3 * values, values, "centre")


@pytest.mark.parametrize("floor", [0.5, 0.01])
@pytest.mark.parametrize("decay", ["linear", "cosine", "exponential"])
def test_rate_decays_to_its_floor_after_warm_up(decay, floor):
    factors = [train.rate_factor(step, 100, decay, 0.1, floor) for step in range(101)]
    assert factors[:2] == [0.1, 0.2] and factors[10] == 1
    assert factors[100] == pytest.approx(floor)
    assert all(a >= b for a, b in zip(factors[10:], factors[11:], strict=False))


def test_images_are_shifted_by_whole_pixels_and_not_by_how_they_are_batched():
    images = torch.rand(6, 3, 8, 9)
    seeds = [[7, 0, prompt] for prompt in (4, 2, 9)]
    moved = train.shifted(images, 2, seeds)
    assert moved.shape == images.shape and not torch.equal(moved, images)
    inside = {(dy, dx): images.roll((dy, dx), (2, 3))[:, :, 2:-2, 2:-2] for dy in range(-2, 3) for dx in range(-2, 3)}
    for at, image in enumerate(moved[:, :, 2:-2, 2:-2]):
        assert any(torch.equal(image, shift[at]) for shift in inside.values())
    assert torch.equal(moved[2:4], train.shifted(images[2:4], 2, seeds[1:2]))
    assert train.shifted(images, 0, seeds) is images


def test_every_prompt_once_an_epoch():
    plan = train.batches(10, 4, 8, 3, seed=1)
    assert [sorted(sum(plan[i : i + 5], [])) for i in (0, 5, 10)] == [list(range(10))] * 3
    assert plan[:5] != plan[5:10]


@pytest.mark.parametrize("lora", [None, {"rank": 4, "alpha": 8}])
@pytest.mark.parametrize("loss", ["mse", "preference"])
def test_training_learns_and_a_checkpoint_restores_it(clip, tmp_path, lora, loss):
    reward = load_reward("pickscore", path=clip)
    groups = data()
    before = predict(reward, groups, "cpu")
    torch.manual_seed(0)
    parameters = make_trainable(reward, lora)
    options = settings(lora=lora, loss=loss, epochs=12, lr=3e-3 if lora else 1e-3)
    history = train.train_level(reward, parameters, groups, options, seed=0)
    assert np.mean(history[-4:]) < 0.8 * np.mean(history[:4])
    after = predict(reward, groups, "cpu")
    save_level(tmp_path / "l.safetensors", parameters, level_about(reward, 3, lora))
    fresh = load_reward("pickscore", path=clip)
    assert load_level(fresh, tmp_path / "l.safetensors")["level"] == 3
    np.testing.assert_array_equal(predict(fresh, groups, "cpu"), after)
    assert np.abs(after - before).max() > 0
    assert not any(p.requires_grad for p in fresh.parameters())


def test_levels_are_swapped_in_place(clip, tmp_path):
    reward = load_reward("pickscore", path=clip)
    names = dict(reward.named_parameters())
    for level in (0, 1):
        changed = {name: value + level for name, value in names.items()}
        save_level(tmp_path / f"{level}.safetensors", changed, level_about(reward, level))
    load_level(reward, tmp_path / "1.safetensors")
    load_level(reward, tmp_path / "0.safetensors")
    fresh = load_reward("pickscore", path=clip)
    for name, value in fresh.named_parameters():
        assert torch.equal(dict(reward.named_parameters())[name], value)


def test_foreign_checkpoints_are_refused(clip, tmp_path):
    reward = load_reward("pickscore", path=clip)
    save_level(tmp_path / "other.safetensors", {"x": torch.zeros(1)}, level_about(reward, 0))
    with pytest.raises(BadInput, match="another reward"):
        load_level(reward, tmp_path / "other.safetensors")
    (tmp_path / "page.safetensors").write_text("<html>")
    with pytest.raises(BadInput, match="not a level checkpoint"):
        read_about(tmp_path / "page.safetensors")
    with pytest.raises(BadInput, match="none.safetensors: no such file"):
        read_about(tmp_path / "none.safetensors")


def test_a_killed_run_resumes_and_ends_with_the_same_weights(clip, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "SAVE_EVERY", 0.0)

    def finish(state, fail_at=None):
        reward = load_reward("pickscore", path=clip)
        parameters = make_trainable(reward, None)
        steps = []

        def loss(predicted, target, over):
            steps.append(1)
            if len(steps) == fail_at:
                raise KeyboardInterrupt
            return true_loss(predicted, target, over)

        true_loss = losses.mse
        monkeypatch.setattr(train.losses, "mse", loss)
        try:
            train.train_level(reward, parameters, data(), settings(), seed=0, state=state)
        finally:
            monkeypatch.setattr(train.losses, "mse", true_loss)
        return parameters, len(steps)

    whole, total = finish(tmp_path / "whole.pt")
    with pytest.raises(KeyboardInterrupt):
        finish(tmp_path / "killed.pt", fail_at=8)
    resumed, left = finish(tmp_path / "killed.pt")
    assert left == total - 7
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_the_state_of_another_run_is_ignored(clip, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "SAVE_EVERY", 0.0)
    for lr in (1e-3, 1e-4):
        reward = load_reward("pickscore", path=clip)
        options = {"data": data(), "settings": settings(lr=lr), "seed": 0}
        history = train.train_level(reward, make_trainable(reward, None), **options, state=tmp_path / "s.pt")
        fresh = load_reward("pickscore", path=clip)
        assert history == train.train_level(fresh, make_trainable(fresh, None), **options)


def test_a_loss_that_is_not_finite_is_an_error(clip):
    reward = load_reward("pickscore", path=clip)
    groups = data()
    groups.targets[:] = np.inf
    parameters = make_trainable(reward, None)
    with pytest.raises(TtsnapError, match="level 3: .*lower the learning rate"):
        train.train_level(reward, parameters, groups, settings(standardise="none"), seed=0, name="level 3")


@pytest.mark.parametrize(("lr", "kept"), [(3e-4, "trained"), (1e-12, "start")])
def test_command_keeps_the_better_of_start_and_result(clip, tmp_path, lr, kept):
    reward = load_reward("pickscore", path=clip)
    write_training(tmp_path, "train", data(0), reward)
    write_training(tmp_path, "validation", held_out(candidates=12), reward)
    out = tmp_path / "3.safetensors"
    words = finetune_words(clip, tmp_path, tmp_path / "3", lr=lr, epochs=8, batch_size=8)
    assert main(words) == 0
    result = read_json(tmp_path / "3.json")
    assert result["kept"] == kept == read_about(out)["kept"] and result["start"] is None
    better = result["validation_tau_trained"] > result["validation_tau_start"]
    assert better == (kept == "trained")
    fresh = load_reward("pickscore", path=clip)
    base = predict(fresh, data(1), "cpu")
    load_level(fresh, out)
    assert np.array_equal(predict(fresh, data(1), "cpu"), base) == (kept == "start")
    first = out.read_bytes()
    out.unlink()
    assert main(words) == 0
    assert out.read_bytes() == first
