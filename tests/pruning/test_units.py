"""Values keep the unit of their reward's class from score to report, whatever the reward is called."""

import json

import numpy as np
import pytest
import torch

from ttsnap.cli import main
from ttsnap.pruning.units import REWARD_UNITS, Units
from ttsnap.rewards.base import Reward, load_reward
from ttsnap.storage.files import write_json
from ttsnap.storage.image_shards import write_shard
from ttsnap.storage.tensor import RewardTensor, read_tensor, write_tensor

PROMPTS, CANDIDATES, STEPS = ["a", "b", "c", "d"], 6, 4
MADE = {"model": "m", "steps": STEPS, "seed": 0, "denoise_tflop": 1.0, "decode_tflop": 0.5}
NAMES = ["mine", "imr", "imagereward", "hps_2", "hpsv2", "pickscore"]


class Thrice(Reward):
    """Mean brightness b; raw values are 2·b + 0.5, reported as (raw − 1)·3."""

    image_size, mean, std, version = 8, (0.0,) * 3, (1.0,) * 3, "1"
    raw, units = (2.0, 0.5), Units(1.0, 3.0, "three times brightness")

    def __init__(self):
        super().__init__()
        self.nothing = torch.nn.Parameter(torch.zeros(1))

    def score(self, pixels, prompts):
        return pixels.mean((1, 2, 3)) + self.nothing


class Plain(Thrice):
    """The same without units."""

    raw, units = (1.0, 0.0), Units()


def reported(kind: str, brightness: np.ndarray) -> np.ndarray:
    return (2 * brightness + 0.5 - 1) * 3 if kind == "Thrice" else brightness


@pytest.fixture(scope="module")
def shard(tmp_path_factory):
    """Images, brighter the higher the candidate: (path, brightness [P, C] of the final ones)."""
    path = tmp_path_factory.mktemp("units") / "images.h5"
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 255, (len(PROMPTS), CANDIDATES, STEPS, 8, 8, 3), dtype=np.uint8)
    write_shard(path, PROMPTS, list(range(STEPS)), iter(rows), MADE)
    return str(path), rows[:, :, -1].astype(float).mean((2, 3, 4)) / 255


def run(command: str, *words) -> None:
    assert main([command, *map(str, words)]) == 0


@pytest.fixture(params=[(k, n) for k in ("Thrice", "Plain") for n in NAMES], ids=lambda p: ".".join(p))
def measured(request, shard, tmp_path):
    """(kind, name, reward tensor, brightness) of a reward of that class under that name."""
    kind, name = request.param
    scores, tensor = tmp_path / "scores.h5", tmp_path / "tensor.h5"
    run("score", shard[0], "--kind", f"test_units:{kind}", "--name", name, "--out", scores)
    run("tensor", "--base", scores, "--out", tensor)
    return kind, name, tensor, shard[1]


def test_tensors_hold_raw_values_and_their_units(measured):
    kind, name, path, brightness = measured
    tensor = read_tensor(path)
    raw = 2 * brightness + 0.5 if kind == "Thrice" else brightness
    np.testing.assert_allclose(tensor.base[:, :, -1], raw, atol=1e-6)
    assert tensor.units.label == ("three times brightness" if kind == "Thrice" else name)
    np.testing.assert_allclose(tensor.units.reported(tensor.base[:, :, -1]), reported(kind, brightness), atol=1e-5)


def test_every_figure_is_reported_in_these_units(measured, shard, tmp_path):
    """simulate, its CSV, align, fit-schedule at one budget, the gallery: all from one tensor."""
    kind, name, path, brightness = measured
    final = reported(kind, brightness)
    most = reported(kind, brightness.max(1))
    whole, alone = f"{STEPS + 0.5 + 1e-6},{CANDIDATES * (STEPS + 0.5 + 1e-6)}", 2 * (STEPS + 0.51)
    words = ["--denoise-cost", 1, "--look-cost", 0.5, "--seed", 1]
    out = {command: tmp_path / f"{command}.json" for command in ("simulate", "align", "fit")}
    run("simulate", path, *words, "--budgets", whole, "--steps", 1, "--keep", 0.5, "--json",
        out["simulate"], "--csv", tmp_path / "curves.csv")  # fmt: skip
    simulated = json.loads(out["simulate"].read_text())
    curve = simulated["methods"]["best_of_n"]
    np.testing.assert_allclose(curve["reward"], [final.mean(), most.mean()], atol=1e-4)
    assert simulated["unit"] == ("three times brightness" if kind == "Thrice" else name)
    line = (tmp_path / "curves.csv").read_text().splitlines()[1].split(",")
    assert float(line[2]) == pytest.approx(final.mean(), abs=1e-4)
    run("align", path, "--json", out["align"])
    last = json.loads(out["align"].read_text())["steps"][0]["base"]
    tensor = read_tensor(path)
    gap = np.abs(tensor.base[:, :, 0] - tensor.base[:, :, -1])
    scale = 3 if kind == "Thrice" else 1
    assert last["mse"]["value"] == pytest.approx(float((gap**2).mean()) * scale**2, rel=1e-4)
    run("fit-schedule", path, *words, "--budgets", alone, "--evaluations", 20, "--method", "ttsp",
        "--json", out["fit"])  # fmt: skip
    held_out = json.loads(out["fit"].read_text())["gain"]["held_out"]
    assert held_out.get("unit", simulated["unit"]) == simulated["unit"]
    from ttsnap.report.gallery import gallery
    from ttsnap.storage.image_shards import read_shard

    shown = gallery(tensor, [read_shard(shard[0])], simulated, 1, 3)
    assert shown["unit"] == simulated["unit"]
    values = [ending["reward"] for ending in shown["prompts"][0]["finals"]]
    np.testing.assert_allclose(values, final[0, :3], atol=1e-5)


def test_a_real_search_and_its_comparison_report_the_same_units(measured, tmp_path):
    """The picks of a search hold scores, which compare-search reports like those of the simulation."""
    kind, name, path, brightness = measured
    reward = load_reward(f"test_units:{kind}")
    picks = brightness.argmax(1)
    rows = [
        {
            "prompt": prompt, "file": prompt, "candidate": int(pick), "spent_tflop": 1.0,
            "rewards": {name: float(brightness[p, pick])},
        }
        for p, (prompt, pick) in enumerate(zip(PROMPTS, picks, strict=True))
    ]  # fmt: skip
    described = {
        "name": name, "version": "1", "levels": {}, "made_from": reward.made_from,
        "units": reward.score_units.to_json(),
    }  # fmt: skip
    settings = {
        "method": "best_of_n", "schedule": {"steps": [], "keep": []}, "budget": CANDIDATES,
        "budget_unit": "candidates", "first_candidate": 0, "seed": 0, "sampler": {},
        "weights": "w", "checker": None, "rewards": [described],
    }  # fmt: skip
    summary = {"settings": settings, "candidates": CANDIDATES, "budget_tflop": 1.0, "notes": []}
    seconds = {"prompts": [{"total": 1.0, "cpu": 1.0}] * len(PROMPTS)}
    write_json(tmp_path / "found/summary.json", summary | {"prompts": rows})
    write_json(tmp_path / "found/seconds.json", seconds)
    run("compare-search", tmp_path / "found", "--tensor", path, "--json", tmp_path / "c.json")
    compared = json.loads((tmp_path / "c.json").read_text())
    row = compared["rows"][0]
    expected = reported(kind, brightness.max(1)).mean()
    assert row["measured"][name]["value"] == pytest.approx(expected, abs=1e-4)
    assert row["predicted"][name]["value"] == pytest.approx(expected, abs=1e-4)
    assert compared["unit"] == ("three times brightness" if kind == "Thrice" else name)


def test_the_units_of_the_published_rewards():
    """ImageReward's score is already normalised, its raw values are normalised once; HPSv2's are × 100."""
    from ttsnap.rewards.hps import HPSv2
    from ttsnap.rewards.imagereward import MEAN, STD, ImageReward

    assert ImageReward.units.reported(MEAN + 2 * STD) == pytest.approx(2, abs=1e-5)
    assert HPSv2.units.reported(0.27) == pytest.approx(27)
    score_units = ImageReward.units.before(*ImageReward.raw)
    assert score_units.reported(0.9995) == pytest.approx(0.9995, abs=1e-5)


@pytest.mark.parametrize(
    "folder, words, kind",
    [
        ("flux_imr_val_base", [], "imagereward"),
        ("flux_imr_val_base", ["--reward", "mine"], "imagereward"),
        ("sdxl_hps_val_base", ["--reward", "imagereward"], "hpsv2"),
        ("sdxl_pick_val_base", ["--reward", "hpsv2"], None),
        ("values", ["--reward", "hps"], None),
        ("values", ["--reward", "any", "--kind", "hpsv2"], "hpsv2"),
    ],
)
def test_imported_values_have_the_units_of_their_kind(tmp_path, folder, words, kind):
    (tmp_path / folder).mkdir()
    for step in (0, 1):
        (tmp_path / folder / f"p1_i2_s{step:02d}.yaml").write_text("0: [0.25, 0.75]\n")
    run("import-values", "--base", tmp_path / folder, *words, "--out", tmp_path / "t.h5")
    tensor = read_tensor(tmp_path / "t.h5")
    np.testing.assert_array_equal(tensor.base[0, :, -1], [0.25, 0.75])
    units = REWARD_UNITS.get(kind, Units(label=tensor.reward))
    assert tensor.units == units


def test_a_tensor_without_units_is_reported_unchanged(tmp_path):
    write_tensor(tmp_path / "t.h5", RewardTensor(np.ones((1, 2, 3)), attrs={"reward": "hpsv2"}))
    assert read_tensor(tmp_path / "t.h5").units == Units(label="hpsv2")
