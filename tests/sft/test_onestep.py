"""One-step pipelines of diffusers: their one step, pairs in and pipelines out, reward optimisation, distilling."""

import json

import numpy as np
import pytest
import tiny
import torch
from diffusers import DDIMScheduler, DiffusionPipeline, EulerDiscreteScheduler
from PIL import Image
from safetensors.torch import load_file

from ttsnap.cli import main
from ttsnap.noise.assign import reconstruction
from ttsnap.pruning.seeds import candidate_seed
from ttsnap.sft.generator import base_noise
from ttsnap.sft.generators import load_generator
from ttsnap.sft.records import read_assigned
from ttsnap.storage.prompts import file_name

PIPELINES = {"sdxl": lambda: tiny.sdxl("v_prediction"), "sd15": tiny.sd15}


@pytest.fixture(scope="module", params=PIPELINES)
def pipeline(request, tmp_path_factory):
    return tiny.save(PIPELINES[request.param](), tmp_path_factory.mktemp("pipe") / request.param)


def test_one_step_is_that_of_the_pipeline_and_reaches_the_noise(pipeline):
    """x̂0 by hand from the UNet's output at the last timestep, and a gradient for every entry of the noise."""
    generator = load_generator(pipeline)
    assert generator.noise_shape == (4, 16, 16) and generator.image_shape == (3, 32, 32)
    noise = base_noise(generator, 0, ["a", "b"]).requires_grad_()
    condition = generator.embed(["a red circle", "two"])
    found = generator.latents(noise, condition)
    scheduler = DiffusionPipeline.from_pretrained(pipeline).scheduler
    alpha = scheduler.alphas_cumprod[999]
    sigma, ddim = ((1 - alpha) / alpha) ** 0.5, isinstance(scheduler, DDIMScheduler)
    scaled = noise if ddim else noise * sigma / (sigma**2 + 1) ** 0.5
    kwargs = generator.sampler._conditioning(*condition)
    output = generator.module(scaled, 999, **kwargs).sample
    x0 = alpha.sqrt() * scaled - (1 - alpha).sqrt() * output
    if scheduler.config.prediction_type == "epsilon":
        x0 = (scaled - (1 - alpha).sqrt() * output) / alpha.sqrt()
    if ddim:  # it ends where the noise of its first timestep is left
        left = scheduler.final_alpha_cumprod
        x0 = left.sqrt() * x0 + (1 - left).sqrt() * output
    assert torch.allclose(found, x0, atol=1e-3)
    alone = generator.latents(noise[1:], generator.embed(["two"]))
    assert torch.allclose(alone, found[1:], atol=1e-3)
    images = generator.pixels(found * 50)
    assert images.min() < 0 and images.max() > 1, "not clamped"
    (gradient,) = torch.autograd.grad(images.sum(), noise)
    assert (gradient != 0).float().mean() > 0.99


def test_encode_is_the_inverse_scaling_of_decode(pipeline):
    generator = load_generator(pipeline)
    vae, images = generator.sampler.vae, torch.rand(2, 3, 32, 32)
    mean = vae.encode(images * 2 - 1).latent_dist.mean
    decoded = vae.decode(mean).sample / 2 + 0.5
    assert torch.allclose(generator.pixels(generator.encode(images)), decoded, atol=1e-5)


def pairs_folder(folder, count: int = 3):
    rng = np.random.default_rng(0)
    lines = []
    for n in range(count):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(folder / f"{n}.png")
        lines.append(json.dumps({"prompt": f"picture {n}", "image": f"{n}.png"}))
    (folder / "pairs.jsonl").write_text("\n".join(lines))
    return str(folder / "pairs.jsonl")


def test_pairs_in_whole_pipelines_out(pipeline, tmp_path):
    """assign → sft (LoRA) → assign with the checkpoint, which diffusers itself opens, too."""
    pairs, first, out = pairs_folder(tmp_path), tmp_path / "1", tmp_path / "sft"
    words = ["assign", "--pairs", pairs, "--steps", "3", "--lr", "5e-2", "--threads", "1"]
    assert main([*words, "--model", pipeline, "--out", str(first)]) == 0
    samples = read_assigned([first / "manifest.jsonl"])
    assert samples.noise.shape == (3, 4, 16, 16) and samples.state.shape == (3, 16, 16)
    summary = json.loads((first / "summary.json").read_text())
    assert summary["loss"] < summary["loss_start"]
    found = json.loads((first / "diagnostics.json").read_text())
    assert found["orthogonality_error"] < 1e-4 and found["dimensions"] == 16
    train = ["sft", "--manifest", str(first / "manifest.jsonl"), "--model", pipeline, "--epochs", "1"]
    train += ["--batch-size", "2", "--lora-rank", "2", "--lr", "1e-2", "--threads", "1"]
    assert main([*train, "--out", str(out)]) == 0
    checkpoint = out / "checkpoint-final"
    pipe = DiffusionPipeline.from_pretrained(checkpoint)
    before, after = (load_file(f"{f}/unet/diffusion_pytorch_model.safetensors") for f in (pipeline, checkpoint))
    assert set(before) == set(after)
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert type(pipe).__name__ == type(DiffusionPipeline.from_pretrained(pipeline)).__name__
    words += ["--from", str(first / "manifest.jsonl"), "--model", str(checkpoint)]
    assert main([*words, "--out", str(tmp_path / "2")]) == 0
    later = read_assigned([tmp_path / "2/manifest.jsonl"])
    assert torch.equal(later.base, samples.base)
    generator = load_generator(str(checkpoint))
    condition, targets = generator.embed(samples.conditions), samples.pixels()
    with torch.no_grad():
        start = reconstruction(generator, samples.noise, condition, generator.encode(targets), targets, 1.0, 0.1)
    assert all(now <= then + 1e-5 for now, then in zip(later.losses, start.tolist(), strict=True))


def test_optimise_noise_command(pipeline, tmp_path):
    from recipe.reward import save_untrained

    save_untrained(tmp_path / "clip", 0)
    (tmp_path / "prompts.txt").write_text("a red circle\na blue square\n")
    words = ["optimize-noise", "--prompts", str(tmp_path / "prompts.txt"), "--model", pipeline]
    words += ["--kind", "pickscore", "--option", f"path={tmp_path / 'clip'}", "--steps", "8"]
    words += ["--lr", "0.05", "--out", str(tmp_path / "o"), "--threads", "1"]
    assert main([*words, "--json", str(tmp_path / "s.json")]) == 0
    summary = json.loads((tmp_path / "s.json").read_text())
    assert summary["prompts"] == 2 and summary["reward_best"] > summary["reward_first"]
    assert summary["largest_relative_norm_change"] < 1e-4
    blue = tmp_path / "o" / file_name("a blue square")
    metrics = json.loads((blue / "metrics.json").read_text())
    assert metrics["prompt"] == "a blue square" and len(metrics["objective"]) == 9
    assert min(metrics["objective"]) == metrics["objective"][metrics["best_step"]]
    assert Image.open(blue / "best.png").size == (32, 32)
    for name in ("diagnostics_first.png", "diagnostics_best.json", "summary.json"):
        assert (tmp_path / "o" / name).exists()
    written = (blue / "noise.safetensors").stat().st_mtime_ns
    assert main(words) == 0  # finished prompts are kept
    assert (blue / "noise.safetensors").stat().st_mtime_ns == written
    assert main([*words, "--prompt", "both"]) == 2
    more = [*words[:1], "--prompt", " a green circle ", *words[3:], "--json", str(tmp_path / "s.json")]
    assert main(more) == 0  # another prompt is added
    assert json.loads((tmp_path / "s.json").read_text())["prompts"] == 3
    assert (tmp_path / "o" / file_name("a green circle") / "best.png").is_file()
    assert (blue / "noise.safetensors").stat().st_mtime_ns == written
    assert main([*words, "--size", "16"]) == 2  # what is there is of another size
    assert Image.open(blue / "best.png").size == (32, 32)


def test_assignments_of_another_size_are_no_rerun(pipeline, tmp_path, capsys):
    out = tmp_path / "o"
    words = ["assign", "--pairs", pairs_folder(tmp_path), "--steps", "1", "--model", pipeline]
    words += ["--out", str(out), "--threads", "1"]
    assert main(words) == 0
    assert main([*words, "--size", "16"]) == 2
    assert "with size [32, 32], now it is [16, 16]" in capsys.readouterr().err
    assert main([*words, "--size", "16", "--mirror"]) == 0
    assert read_assigned([out / "manifest.jsonl"]).images.shape == (3, 16, 16, 3)


@pytest.mark.slow
def test_distilling_makes_one_step_do_what_the_teacher_does_in_many(tmp_path):
    from recipe import onestep
    from ttsnap.samplers import load_sampler, run
    from ttsnap.sft.pipeline import OneStepPipeline

    scheduler = EulerDiscreteScheduler(
        prediction_type="v_prediction", timestep_spacing="trailing", rescale_betas_zero_snr=True
    )
    folder = tiny.save(tiny.sdxl(scheduler=scheduler), tmp_path / "teacher")
    teacher = load_sampler(folder, steps=4, guidance=2.0, height=32, width=32)
    texts = [f"thing {n % 4}" for n in range(24)]
    data = onestep.targets(teacher, texts, seed=0, at_once=10)
    alone, _ = run(teacher, texts[17], [candidate_seed(0, texts[17], 17)])  # as the search samples it
    pixels = teacher.decode(alone)[0]
    assert (data.pixels([17])[0] - pixels).abs().max() <= 0.02
    student = OneStepPipeline(folder, 32, "cpu")
    wanted = student.encode(data.pixels())

    @torch.no_grad()
    def error(generator):
        return float((generator.latents(data.base, generator.embed(texts)) - wanted).square().mean())

    before = error(student)
    onestep.distil(student, data, epochs=60, seed=0)
    after = error(student)
    assert after < 0.7 * before
    onestep.save(student, tmp_path / "teacher", tmp_path / "student")
    assert error(load_generator(str(tmp_path / "student"))) == pytest.approx(after, rel=0.02)
    pipe = DiffusionPipeline.from_pretrained(tmp_path / "student")
    pipe.load_lora_weights(tmp_path / "student", weight_name=onestep.LORA)  # diffusers alone
    lora = load_file(tmp_path / "student" / onestep.LORA)
    assert all(value.dtype == torch.float16 for value in lora.values())


def test_drawn_pairs_show_their_captions_and_open_as_targets(tmp_path):
    from ttsnap.sft.targets import pair_targets
    from ttsnap.shapes.captions import held_out
    from ttsnap.shapes.checker import check

    words = ["draw-shapes", "--out", str(tmp_path), "--count", "9", "--part", "held_out"]
    assert main(words) == 0
    targets = list(pair_targets(tmp_path / "pairs.jsonl"))
    images = np.stack([target.load((3, 64, 64)) for target in targets])
    prompts = [target.condition for target in targets]
    assert len(prompts) == 9 and check(images, prompts)[0].all()
    assert all(held_out(prompt) for n, prompt in enumerate(prompts) if n % 3)


def test_paired_noise_is_what_the_targets_were_made_from(tmp_path, capsys):
    """generate → export-images --pairs → assign → sft on the pairs → compare as a draft, all by one model."""
    pipeline = tiny.save(tiny.sdxl("v_prediction"), tmp_path / "pipe")
    (tmp_path / "p.txt").write_text("a red circle\na blue square\n")
    words = ["generate", str(tmp_path / "p.txt"), "--out", str(tmp_path / "s.h5"), "--model", pipeline, "--seed", "5"]
    size = ["--height", "32", "--width", "32", "--candidates", "4", "--threads", "1"]
    assert main([*words, "--steps", "1", "--guidance", "0", *size]) == 0
    assert main(["export-images", str(tmp_path / "s.h5"), "--out", str(tmp_path / "tree"), "--pairs"]) == 0
    pairs, made = tmp_path / "tree/pairs.jsonl", tmp_path / "assigned"
    lines = [json.loads(line) for line in pairs.read_text().splitlines()]
    assert lines[5] == {
        "prompt": "a blue square", "image": "p0001/id001/s00.png", "seed": candidate_seed(5, "a blue square", 1)
    }  # fmt: skip
    assign = ["assign", "--pairs", str(pairs), "--model", pipeline, "--steps", "0", "--threads", "1"]
    assert main([*assign, "--out", str(made)]) == 0
    data, generator = read_assigned([made / "manifest.jsonl"]), load_generator(pipeline)
    assert data.seeds == [line["seed"] for line in lines]
    with torch.no_grad():
        images = generator.pixels(generator.latents(data.base, generator.embed(data.conditions))).clamp(0, 1)
    assert (images - data.pixels()).abs().max() <= 1 / 255
    train = ["sft", "--manifest", str(made / "manifest.jsonl"), "--model", pipeline, "--epochs", "1", "--lr", "1e-9"]
    train += ["--threads", "1", "--pixel", "1", "--latent", "0", "--preserve-latent", "0", "--noise"]
    losses = {}
    for noise in ("paired", "random"):
        assert main([*train, noise, "--out", str(tmp_path / noise)]) == 0
        losses[noise] = json.loads((tmp_path / noise / "train_summary.json").read_text())["epoch_loss"][0]
    assert losses["paired"] < 1 / 255 < 0.01 < losses["random"]
    compare = ["compare-sft", "--model", pipeline, "--base", pipeline, "--fresh", "16", "--threads", "1"]
    compare += [f"--{part}-manifest={made / 'manifest.jsonl'}" for part in ("train", "test")]
    compare += ["--features", "embedded:shapes-clip", "--checker", "shapes", "--json", str(tmp_path / "c.json")]
    assert main(compare) == 0
    draft = json.loads((tmp_path / "c.json").read_text())["draft"]
    assert (draft["samples"], draft["prompts"]) == (8, 2) and draft["tau"] > 0.6 and 0 <= draft["accepted"] <= 1
    # Without seeds the noise is not known
    pairs.write_text("".join(json.dumps({k: line[k] for k in ("prompt", "image")}) + "\n" for line in lines))
    assert main([*assign, "--out", str(tmp_path / "unknown")]) == 0
    train[2] = str(tmp_path / "unknown/manifest.jsonl")
    capsys.readouterr()
    assert main([*train, "paired", "--out", str(tmp_path / "none")]) == 2
    assert "8 of 8 targets have no seed" in capsys.readouterr().err
    pairs.write_text(json.dumps(lines[0] | {"seed": -1}) + "\n" + json.dumps(lines[1]) + "\n")
    assert main([*assign, "--out", str(tmp_path / "bad")]) == 0
    (failure,) = [json.loads(line) for line in (tmp_path / "bad/failures.jsonl").read_text().splitlines()]
    assert failure["index"] == 0 and '"seed" is no whole number' in failure["error"]
