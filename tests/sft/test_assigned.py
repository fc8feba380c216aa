"""Assigned datasets: added to, killed, moved, carried on from cycle to cycle, broken."""

import shutil

import pytest
import torch

from ttsnap.errors import BadInput
from ttsnap.noise import assign as noise_assign
from ttsnap.settings.sft import Assign
from ttsnap.sft import assignment
from ttsnap.sft.data import load_images
from ttsnap.sft.generators import load_generator
from ttsnap.sft.records import read_assigned
from ttsnap.sft.targets import labelled_targets

SETTINGS = Assign(steps=6, batch_size=4).model_dump()


def assigned(gan, out, count=8, first=0, **options) -> dict:
    settings = SETTINGS | options.pop("settings", {})
    targets = labelled_targets(load_images("digits"), first, count)
    return assignment.assign_targets(load_generator(gan), targets, out, settings, **options)


def test_a_rerun_keeps_what_is_done_adds_what_is_new_drops_nothing(gan, tmp_path):
    out = tmp_path / "o"
    assigned(gan, out, 6)
    first = read_assigned([out / "manifest.jsonl"])
    summary = assigned(gan, out, 6, first=4)
    assert summary["samples"] == 10 and summary["kept"] == 2
    moved = tmp_path / "elsewhere" / "dataset"
    shutil.move(out, shutil.os.makedirs(moved.parent) or moved)
    both = read_assigned([moved / "manifest.jsonl"])
    assert both.keys[:6] == first.keys and torch.equal(both.noise[:6], first.noise)
    whole = tmp_path / "whole"
    assigned(gan, whole, 10)
    again = read_assigned([whole / "manifest.jsonl"])
    assert again.keys == both.keys and torch.allclose(again.noise, both.noise, atol=1e-4)
    assert torch.equal(again.base, both.base)
    with pytest.raises(BadInput, match="holds assignments with steps 6, now it is 7"):
        assigned(gan, whole, 2, settings={"steps": 7})
    with pytest.raises(BadInput, match="with seed 0, now it is 1"):
        assigned(gan, whole, 2, seed=1)
    summary = assigned(gan, whole, 2, settings={"steps": 7}, mirror=True)
    assert summary["samples"] == 2 and summary["kept"] == 0


def test_a_killed_assignment_goes_on(gan, tmp_path, monkeypatch):
    out, whole = tmp_path / "o", tmp_path / "whole"
    assigned(gan, whole, 8)
    real, calls = noise_assign.assign, []

    def dies(*args, **options):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args, **options)

    monkeypatch.setattr(assignment, "assign", dies)
    with pytest.raises(KeyboardInterrupt):
        assigned(gan, out, 8)
    assert not (out / "manifest.jsonl").exists()
    assert assigned(gan, out, 8)["kept"] == 4
    a, b = (read_assigned([folder / "manifest.jsonl"]) for folder in (out, whole))
    assert a.keys == b.keys and torch.equal(a.noise, b.noise)


def test_the_next_cycle_starts_from_the_last_assignment_and_never_rises(gan, tmp_path):
    """Same base noise, and under the new model no target is worse off than with its last noise."""
    other = load_generator(gan)
    with torch.no_grad():
        for value in other.module.parameters():
            value.mul_(1.05)
    other.save(tmp_path / "new")
    for form in ("sphere", "exp"):
        first, second = tmp_path / form / "1", tmp_path / form / "2"
        assigned(gan, first, 8, settings={"form": form})
        last = read_assigned([first / "manifest.jsonl"])
        options = dict(settings={"form": form, "lr": 1.0}, start=last)
        assigned(str(tmp_path / "new"), second, 10, **options)
        now = read_assigned([second / "manifest.jsonl"])
        assert torch.equal(now.base[:8], last.base)
        generator = load_generator(str(tmp_path / "new"))
        condition, targets = generator.embed(last.conditions), last.pixels()
        latents = generator.encode(targets)
        with torch.no_grad():
            before = noise_assign.reconstruction(generator, last.noise, condition, latents, targets, 1.0, 0.1)
            after = noise_assign.reconstruction(generator, now.noise[:8], condition, latents, targets, 1.0, 0.1)
        assert (after <= before + 1e-6).all()
        assert torch.allclose(after, torch.tensor(now.losses[:8]), atol=1e-5)


def test_broken_datasets_are_refused(gan, tmp_path):
    out = tmp_path / "o"
    assigned(gan, out, 4)
    manifest, block = out / "manifest.jsonl", next((out / "blocks").iterdir())
    text = manifest.read_text()
    for bad, says in (
        ("{", "cannot be read as a manifest"),
        ('{"id": 1}', "line 1: KeyError"),
        (text.replace("blocks/", "../../blocks/"), "leaves the dataset"),
        (text.replace("000000", "000009"), "no such file; run assign again"),
        ("", "no sample in it"),
    ):
        manifest.write_text(bad)
        with pytest.raises(BadInput, match=says):
            read_assigned([manifest])
    block.write_bytes(block.read_bytes()[:100])
    with pytest.raises(BadInput, match="not a whole block"):
        assigned(gan, out, 4)


def test_a_target_given_twice_is_assigned_once_and_counted(gan, tmp_path):
    targets = list(labelled_targets(load_images("digits"), 0, 3))
    summary = assignment.assign_targets(load_generator(gan), [*targets, targets[1]], tmp_path / "o", SETTINGS)
    assert summary["samples"] == 3 and summary["repeated"] == 1
