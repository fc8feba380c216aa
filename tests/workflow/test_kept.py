"""Prompts added to a shard do not make the images of those it had again."""

import shutil

import pytest
from drafting import save_lora
from tiny import save, sdxl

from ttsnap.cli import main
from ttsnap.samplers.sdxl import SDXLSampler

OLD, NEW = ["a red circle", "a blue square"], ["a red circle", "a blue square", "a green square"]


@pytest.fixture
def generate(tmp_path, monkeypatch):
    """generate(prompts, *options) → the prompts that were denoised; the shard is at tmp_path/out.h5."""
    model, done = save(sdxl(), tmp_path / "model"), []
    encode = SDXLSampler.encode

    def watched(sampler, prompt):
        done.append(prompt)
        return encode(sampler, prompt)

    monkeypatch.setattr(SDXLSampler, "encode", watched)

    def run(prompts, *options, state="state/0000"):
        done.clear()
        (tmp_path / "prompts.txt").write_text("\n".join(prompts))
        words = ["--out", tmp_path / "out.h5", "--model", model, "--steps", 3, "--candidates", 2]
        words += ["--height", 32, "--width", 32, "--state", tmp_path / state, *options]
        assert main(["generate", str(tmp_path / "prompts.txt"), *map(str, words)]) == 0
        return list(done), (tmp_path / "out.h5").read_bytes()

    return run


def test_only_the_added_prompt_is_made_and_the_bytes_are_the_same(generate, tmp_path):
    assert generate(OLD)[0] == OLD
    (tmp_path / "out.h5").unlink()  # as Snakemake does
    made, taken_over = generate(NEW)
    assert made == NEW[2:]
    made, fresh = generate(NEW, state="elsewhere/0000")
    assert made == NEW and taken_over == fresh
    assert len(list((tmp_path / "state").iterdir())) == 1


@pytest.mark.parametrize("change", [("--seed", 1), ("--steps", 4), ("--guidance", 2)])
def test_with_another_setting_nothing_is_taken_over(generate, change):
    generate(OLD)
    assert generate(OLD, *change)[0] == OLD


def test_broken_images_are_made_again(generate, tmp_path):
    _, whole = generate(OLD)
    [kept] = (tmp_path / "state").iterdir()
    shutil.copy(kept, tmp_path / "copy")
    data = bytearray(whole)
    data[-3000:-2900] = bytes(100)
    kept.unlink()
    kept.write_bytes(data)
    assert generate(OLD)[1] == whole
    [kept] = (tmp_path / "state").iterdir()
    kept.write_bytes(whole[:1000])
    made, again = generate(OLD)
    assert made == OLD and again == whole


FEW = ("--draft", "{name: few, steps: 2}")


def test_drafts_of_finished_prompts_are_taken_over(generate, tmp_path):
    assert generate(OLD, *FEW)[0] == OLD
    (tmp_path / "out.h5").unlink()
    made, taken_over = generate(NEW, *FEW)
    assert made == NEW[2:]
    made, fresh = generate(NEW, *FEW, state="elsewhere/0000")
    assert made == NEW and taken_over == fresh


@pytest.mark.parametrize(
    "change",
    [
        ("--draft", "{name: few, steps: 1}"),
        ("--draft", "{name: other, steps: 2}"),
        ("--draft", "{name: few, steps: 2, guidance: 1.5}"),
        (*FEW, "--draft", "{name: second, steps: 1}"),
        (*FEW, "--guidance", 2),
        (),
    ],
)
def test_drafts_made_otherwise_are_not_taken_over(generate, change):
    generate(OLD, *FEW)
    made = generate(OLD, *change)[0]
    assert list(dict.fromkeys(made)) == OLD


def test_drafts_of_a_lora_whose_file_changed_are_made_again(generate, tmp_path):
    file = save_lora("sdxl", tmp_path / "lora")
    lora = ("--draft", f"{{name: few, steps: 2, lora: {file}}}")
    assert generate(OLD, *lora)[0] == OLD
    assert generate(OLD, *lora)[0] == []
    save_lora("sdxl", tmp_path / "lora", seed=6)  # the same name, other weights
    assert generate(OLD, *lora)[0] == OLD
