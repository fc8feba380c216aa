"""From a GAN to the comparison: the whole way on real images, distances, intervals over seeds."""

import json

import numpy as np
import pytest
import torch

from ttsnap.cli import main
from ttsnap.report.sft_summary import METRICS, over_seeds, summarise_sft
from ttsnap.settings.datasets import LABELLED
from ttsnap.sft.generator import rows
from ttsnap.sft.generators import load_generator
from ttsnap.sft.metrics import frechet_distance
from ttsnap.sft.records import read_assigned

PACKAGED = LABELLED["fashion_mnist"].packaged


@pytest.mark.skipif(not PACKAGED.is_dir(), reason="needs Debian's dataset-fashion-mnist")
def test_fashion_mnist_from_gan_to_finetuned_generator(tmp_path):
    """Real 28×28 images through the whole cycle; assignment brings each target's loss down a good deal."""
    model, words = str(tmp_path / "gan"), ["--threads", "1", "--seed", "1"]
    train = ["train-gan", "--data", "fashion_mnist", "--limit", "320", "--epochs", "3"]
    assert main([*train, "--width", "8", "--out", model, *words]) == 0
    assign = ["assign", "--data", "fashion_mnist", "--limit", "6", "--steps", "60", "--model", model]
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


def comparison(way: str, seed: int, psnr: float, drift: float = 0.0, **fresh: float) -> dict:
    split = {"samples": 8, "psnr": psnr}
    fresh = {"samples": 16, "feature_distance": 1.0 + seed, **fresh}
    return {"way": way, "cycle": 1, "seed": seed, "train": split, "test": split, "fresh": fresh, "drift": drift}


def test_intervals_pair_the_seeds():
    """Seeds differ by 5 dB, assigned − random by 1.0, 1.1, 0.9: only the paired interval sees that."""
    made = [comparison("random", s, 10 + 5 * s) for s in range(3)]
    made += [comparison("assigned", s, 11 + 5 * s + d) for s, d in enumerate((0, 0.1, -0.1))]
    summary = summarise_sft(made)
    gap = summary["differences"][0]["values"]["held-out targets, PSNR (dB)"]
    assert gap["value"] == pytest.approx(1)
    half = 4.302653 * 0.1 / 3**0.5
    assert (gap["low"], gap["high"]) == (pytest.approx(1 - half), pytest.approx(1 + half))
    assert "held-out targets, PSNR (dB): assigned noise is better" in summary["sentences"]
    assert "fresh samples, feature distance: no clear difference" in summary["sentences"]
    assert over_seeds([1.0])["low"] is None


def test_intervals_stay_within_the_range_of_a_metric():
    """Two seeds: Student's t reaches 12.7 times as far as the standard error."""

    def made(way: str, seed: int, accuracy: float, distance: float, drift: float) -> dict:
        fresh = {"feature_distance": distance, "class_accuracy": accuracy, "accepted": accuracy}
        draft = {"tau": 2 * accuracy - 1, "accepted": accuracy}
        return comparison(way, seed, 20.0 + seed, drift, **fresh) | {"draft": draft}

    second = [made(way, 1, 0.9, 3.0, 0.02) for way in ("random", "assigned")]
    summary = summarise_sft([made("random", 0, 1.0, 0.1, 0.0), made("assigned", 0, 0.0, 0.1, 0.0), *second])
    for row in summary["rows"]:
        for metric in METRICS:
            figure = row["values"][metric.title]
            assert metric.least <= figure["low"] <= figure["value"] <= figure["high"] <= metric.most
    values = summary["rows"][0]["values"]
    assert values["fresh samples, right class (%)"]["high"] == 100
    assert values["fresh samples, feature distance"]["low"] == 0
    assert values["as a draft, Kendall τ with the target's reward"]["high"] == 1
    assert values["drift from the original (MSE)"]["low"] == 0
    assert values["train targets, PSNR (dB)"]["high"] == pytest.approx(20.5 + 12.7062 * 0.5, abs=1e-3)
    difference = summary["differences"][0]["values"]["fresh samples, right class (%)"]
    assert (difference["value"], difference["low"], difference["high"]) == (-50, -100, 100)
    spread = over_seeds([1.0, 2.0], least=0)
    assert spread["low"] == 0 and spread["high"] > 2
