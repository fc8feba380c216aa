"""Finetuning on assigned and random noise: GAN and one-step pipelines, resuming, processes, comparison."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tiny
import torch
from diffusers import DiffusionPipeline, EulerDiscreteScheduler
from PIL import Image
from safetensors.torch import load_file

from ttsnap.cli import main
from ttsnap.errors import TtsnapError
from ttsnap.noise.assign import reconstruction
from ttsnap.report.sft_summary import over_seeds, summarise_sft
from ttsnap.seeds import candidate_seed
from ttsnap.sft import train as training
from ttsnap.sft.build import build
from ttsnap.sft.data import DEBIAN_FASHION, load_images
from ttsnap.sft.gan import GanGenerator, save_gan
from ttsnap.sft.generators import base_noise, load_generator, rows
from ttsnap.sft.metrics import frechet_distance
from ttsnap.sft.records import read_assigned
from ttsnap.sft.settings import Assign, Train
from ttsnap.sft.targets import of_images
from ttsnap.sft.train import Trainer
from ttsnap.sft.weights import merged, trainable


@pytest.fixture(scope="module")
def gan(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("gan")
    save_gan(GanGenerator(1, 8, 16, 8, [str(n) for n in range(10)]), folder)
    return str(folder)


@pytest.fixture(scope="module")
def manifest(gan, tmp_path_factory):
    out = tmp_path_factory.mktemp("assigned")
    targets = of_images(load_images("digits"), 0, 20)
    build(load_generator(gan), targets, out, Assign(steps=10).model_dump())
    return str(out / "manifest.jsonl")


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


def test_direct_noise_is_fresh_and_assigned_noise_fits_better(gan, manifest):
    direct = trainer(gan, manifest, noise="random").run()
    matched = trainer(gan, manifest).run()
    assert len(direct["total"]) == len(matched["total"])
    assert matched["fit"][0] < direct["fit"][0]
    run = trainer(gan, manifest, noise="random")
    assert not torch.equal(run._draw(1, 0, 4), run._draw(2, 0, 4))
    assert not torch.equal(run._draw(1, 0, 4), run._draw(1, 1, 4))


@pytest.mark.parametrize("settings", [{}, {"ema": 0.9}, {"lora": {"rank": 2, "alpha": 4}}])
def test_a_killed_run_ends_with_the_same_weights(gan, manifest, tmp_path, monkeypatch, settings):
    monkeypatch.setattr(training, "SAVE_EVERY", 0.0)
    whole = trainer(gan, manifest, **settings)
    expected = whole.run()
    first = trainer(gan, manifest, **settings)
    real = first._update

    def dies(update, batch):
        if update == 5:
            raise KeyboardInterrupt
        return real(update, batch)

    first._update = dies
    with pytest.raises(KeyboardInterrupt):
        first.run(tmp_path / "state.pt")
    epochs = []
    second = trainer(gan, manifest, **settings)
    assert second.run(tmp_path / "state.pt", lambda means: epochs.append(len(means))) == expected
    assert epochs == [2, 3]
    for name, value in whole.parameters.items():
        assert torch.equal(value, second.parameters[name])
    if second.average:
        assert all(
            torch.equal(whole.average.values[k], v) for k, v in second.average.values.items()
        )
    changed = trainer(gan, manifest, **settings | {"lr": 2e-3})
    assert len(changed._restore(tmp_path / "state.pt")["total"]) == 0


def test_a_loss_that_is_not_finite_is_said(gan, manifest):
    run = trainer(gan, manifest)
    run.images[:] = float("nan")
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
        "train_history.png", "train_summary.json",
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
    one, two = (
        load_file(tmp_path / n / "checkpoint-final/generator.safetensors") for n in ("one", "two")
    )
    start = load_file(f"{gan}/generator.safetensors")
    # Not bit for bit: sums are rounded in another order, and Adam divides by gradients that are nearly nothing.
    gap = sum(float((one[name] - two[name]).square().sum()) for name in one)
    moved = sum(float((one[name] - start[name]).square().sum()) for name in one)
    assert gap < 1e-3 * moved
    alone = json.loads((tmp_path / "one/train_summary.json").read_text())
    assert np.allclose(summary["history"]["total"], alone["history"]["total"], rtol=1e-4)


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
    sigma = ((1 - alpha) / alpha) ** 0.5
    scaled = noise * sigma / (sigma**2 + 1) ** 0.5
    kwargs = generator.sampler._conditioning(*condition)
    output = generator.module(scaled, 999, **kwargs).sample
    x0 = alpha.sqrt() * scaled - (1 - alpha).sqrt() * output
    if scheduler.config.prediction_type == "epsilon":
        x0 = (scaled - (1 - alpha).sqrt() * output) / alpha.sqrt()
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
    pairs, one, out = pairs_folder(tmp_path), tmp_path / "1", tmp_path / "sft"
    words = ["assign", "--pairs", pairs, "--steps", "3", "--lr", "5e-2", "--threads", "1"]
    assert main([*words, "--model", pipeline, "--out", str(one)]) == 0
    samples = read_assigned([one / "manifest.jsonl"])
    assert samples.noise.shape == (3, 4, 16, 16) and samples.state.shape == (3, 16, 16)
    summary = json.loads((one / "summary.json").read_text())
    assert summary["loss"] < summary["loss_start"]
    found = json.loads((one / "diagnostics.json").read_text())
    assert found["orthogonality_error"] < 1e-4 and found["dimensions"] == 16
    train = ["sft", "--manifest", str(one / "manifest.jsonl"), "--model", pipeline, "--epochs", "1"]
    train += ["--batch-size", "2", "--lora-rank", "2", "--lr", "1e-2", "--threads", "1"]
    assert main([*train, "--out", str(out)]) == 0
    checkpoint = out / "checkpoint-final"
    pipe = DiffusionPipeline.from_pretrained(checkpoint)
    before, after = (
        load_file(f"{f}/unet/diffusion_pytorch_model.safetensors") for f in (pipeline, checkpoint)
    )
    assert set(before) == set(after)
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert type(pipe).__name__ == type(DiffusionPipeline.from_pretrained(pipeline)).__name__
    words += ["--from", str(one / "manifest.jsonl"), "--model", str(checkpoint)]
    assert main([*words, "--out", str(tmp_path / "2")]) == 0
    later = read_assigned([tmp_path / "2/manifest.jsonl"])
    assert torch.equal(later.base, samples.base)
    generator = load_generator(str(checkpoint))
    condition, targets = generator.embed(samples.conditions), samples.pixels()
    with torch.no_grad():
        start = reconstruction(
            generator, samples.noise, condition, generator.encode(targets), targets, 1.0, 0.1
        )
    assert all(now <= then + 1e-5 for now, then in zip(later.losses, start.tolist(), strict=True))


def test_optimise_noise_command(pipeline, tmp_path):
    from ttsnap.shapes.reward import save_untrained

    save_untrained(tmp_path / "clip", 0)
    (tmp_path / "prompts.txt").write_text("a red circle\na blue square\n")
    words = ["optimize-noise", "--prompts", str(tmp_path / "prompts.txt"), "--model", pipeline]
    words += ["--kind", "pickscore", "--option", f"path={tmp_path / 'clip'}", "--steps", "8"]
    words += ["--lr", "0.05", "--out", str(tmp_path / "o"), "--threads", "1"]
    assert main([*words, "--json", str(tmp_path / "s.json")]) == 0
    summary = json.loads((tmp_path / "s.json").read_text())
    assert summary["prompts"] == 2 and summary["reward_best"] > summary["reward_first"]
    assert summary["largest_relative_norm_change"] < 1e-4
    metrics = json.loads((tmp_path / "o/p0001/metrics.json").read_text())
    assert metrics["prompt"] == "a blue square" and len(metrics["objective"]) == 9
    assert min(metrics["objective"]) == metrics["objective"][metrics["best_step"]]
    assert Image.open(tmp_path / "o/p0001/best.png").size == (32, 32)
    for name in ("diagnostics_first.png", "diagnostics_best.json", "summary.json"):
        assert (tmp_path / "o" / name).exists()
    written = (tmp_path / "o/p0001/noise.safetensors").stat().st_mtime_ns
    assert main(words) == 0  # finished prompts are kept
    assert (tmp_path / "o/p0001/noise.safetensors").stat().st_mtime_ns == written
    assert main([*words, "--prompt", "both"]) == 2


@pytest.mark.skipif(not DEBIAN_FASHION.is_dir(), reason="needs Debian's dataset-fashion-mnist")
def test_fashion_mnist_from_gan_to_matched_generator(tmp_path):
    """Real 28×28 images through the whole cycle; assignment brings each target's loss down a good deal."""
    model, words = str(tmp_path / "gan"), ["--threads", "1", "--seed", "1"]
    train = ["train-gan", "--data", "fashion_mnist", "--limit", "320", "--epochs", "3"]
    assert main([*train, "--width", "8", "--out", model, *words]) == 0
    assign = [
        "assign",
        "--data",
        "fashion_mnist",
        "--limit",
        "6",
        "--steps",
        "60",
        "--model",
        model,
    ]
    assert main([*assign, "--out", str(tmp_path / "1"), *words]) == 0
    lines = (tmp_path / "1/manifest.jsonl").read_text().splitlines()
    assert len(lines) == 6
    for record in map(json.loads, lines):
        assert record["loss"] < 0.9 * record["loss_start"]
    manifest = str(tmp_path / "1/manifest.jsonl")
    sft = ["sft", "--manifest", manifest, "--model", model, "--epochs", "1", "--batch-size", "3"]
    assert main([*sft, "--out", str(tmp_path / "sft"), *words]) == 0
    generator = load_generator(str(tmp_path / "sft/checkpoint-final"))
    assert generator.image_shape == (1, 28, 28)


@pytest.mark.slow
def test_distilling_makes_one_step_do_what_the_teacher_does_in_many(tmp_path):
    from ttsnap.samplers import load_sampler
    from ttsnap.sft.pipeline import Pipeline
    from ttsnap.shapes import onestep

    scheduler = EulerDiscreteScheduler(
        prediction_type="v_prediction", timestep_spacing="trailing", rescale_betas_zero_snr=True
    )
    folder = tiny.save(tiny.sdxl(scheduler=scheduler), tmp_path / "teacher")
    teacher = load_sampler(folder, steps=4, guidance=2.0, height=32, width=32)
    texts = [f"thing {n % 4}" for n in range(24)]
    noise, latents = onestep.teach(teacher, texts, seed=0, batch_size=10)
    alone = teacher.init([candidate_seed(0, texts[17], 17)])  # as the search samples it
    condition = teacher.encode(texts[17])
    for step in range(teacher.steps):
        alone, _ = teacher.step(step, alone, condition)
    assert torch.allclose(alone[0], latents[17], atol=1e-3)
    student = Pipeline(folder, 32, "cpu")
    before = onestep.error(student, noise, latents, texts)
    onestep.distil(student, noise, latents, texts, steps=60)
    assert onestep.error(student, noise, latents, texts) < 0.7 * before
    student.save(tmp_path / "student")
    assert load_generator(str(tmp_path / "student")).noise_shape == (4, 16, 16)


def test_drawn_pairs_show_their_captions_and_open_as_targets(tmp_path):
    from ttsnap.sft.targets import of_pairs
    from ttsnap.shapes.captions import held_out
    from ttsnap.shapes.checker import check

    words = ["draw-shapes", "--out", str(tmp_path), "--count", "9", "--part", "held_out"]
    assert main(words) == 0
    targets = list(of_pairs(tmp_path / "pairs.jsonl"))
    images = np.stack([target.load((3, 64, 64)) for target in targets])
    prompts = [target.condition for target in targets]
    assert len(prompts) == 9 and check(images, prompts)[0].all()
    assert all(held_out(prompt) for n, prompt in enumerate(prompts) if n % 3)


def test_rows_of_conditions_follow_the_samples(gan):
    generator = load_generator(gan)
    (labels,) = rows(generator.embed(["3", "1", "2"]), [2, 0])
    assert labels.tolist() == [2, 3]


def test_comparison_of_a_model_with_itself_has_no_drift(gan, manifest, tmp_path):
    """And reconstruction figures are those of the stored noise, class accuracy that of the classifier."""
    weights, out = str(tmp_path / "c.safetensors"), tmp_path / "c.json"
    assert main(["train-classifier", "--out", weights, "--epochs", "3", "--threads", "1"]) == 0
    words = ["compare-sft", "--model", gan, "--base", gan, "--train-manifest", manifest]
    words += ["--test-manifest", manifest, "--data", "digits", "--fresh", "40", "--threads", "1"]
    images = tmp_path / "base.0.safetensors"
    words += ["--classifier", weights, "--images", str(images)]
    assert main([*words, "--json", str(out)]) == 0
    found = json.loads(out.read_text())
    assert found["drift"] == 0 and found["train"] == found["test"]
    data, generator = read_assigned([manifest]), load_generator(gan)
    with torch.no_grad():
        latents = generator.latents(data.noise, generator.embed(data.conditions))
    mse = (generator.pixels(latents) - data.pixels()).square().mean()
    assert found["test"]["mse"] == pytest.approx(float(mse), rel=1e-4)
    assert found["test"]["objective"] == pytest.approx(np.mean(data.losses))
    assert 0 <= found["fresh"]["class_accuracy"] < 0.5, "an untrained GAN shows no digits"
    grid = tmp_path / "grid.png"
    assert main(["report-sft", "--part", "grid", "--images", str(images), "--out", str(grid)]) == 0
    assert grid.read_bytes()[:4] == b"\x89PNG"
    page = tmp_path / "page.html"
    table = ["report-sft", "--part", "table", "--comparison", str(out), "--out", str(page)]
    assert main(table) == 0 and "original model" in page.read_text()
    assert main([*words, "--features", "embedded:shapes-clip"]) == 2


def test_frechet_distance_of_gaussians():
    rng = np.random.default_rng(0)
    a = rng.normal(0, 1, (20_000, 3))
    assert frechet_distance(a, a) < 1e-9
    assert frechet_distance(a, a + [1, 2, 0]) == pytest.approx(5, abs=1e-6)
    assert frechet_distance(a, 2 * rng.normal(0, 1, (20_000, 3))) == pytest.approx(3, abs=0.2)


def comparison(way: str, cycle: int, seed: int, psnr: float) -> dict:
    part = {"samples": 8, "psnr": psnr}
    fresh = {"samples": 16, "feature_distance": 1.0 + seed}
    about = {"way": way, "cycle": cycle, "seed": seed}
    return about | {"train": part, "test": part, "fresh": fresh, "drift": 0.0}


def test_intervals_pair_the_seeds():
    """Seeds differ by 5 dB, matched − direct by 1.0, 1.1, 0.9: only the paired interval sees that."""
    made = [comparison("direct", 1, s, 10 + 5 * s) for s in range(3)]
    made += [comparison("matched", 1, s, 11 + 5 * s + d) for s, d in enumerate((0, 0.1, -0.1))]
    summary = summarise_sft(made)
    of = summary["differences"][0]["values"]["held-out targets, PSNR (dB)"]
    assert of["value"] == pytest.approx(1)
    half = 4.302653 * 0.1 / 3**0.5
    assert (of["low"], of["high"]) == (pytest.approx(1 - half), pytest.approx(1 + half))
    assert "held-out targets, PSNR (dB): matched noise is better" in summary["sentences"]
    assert "fresh samples, feature distance: no clear difference" in summary["sentences"]
    assert over_seeds([1.0])["low"] is None
