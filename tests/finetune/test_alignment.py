"""Alignment metrics against their definitions."""

import numpy as np
import pytest
from scipy.stats import kendalltau

from ttsnap.cli import main
from ttsnap.finetune.alignment import align, alignment, top_cuts
from ttsnap.finetune.tau import kendall_tau
from ttsnap.pruning.intervals import mean_with_interval
from ttsnap.storage.files import read_json
from ttsnap.storage.tensor import RewardTensor, write_tensor


def example(prompts=20, candidates=15, steps=4, digits=None):
    rng = np.random.default_rng(0)
    final = rng.normal(size=(prompts, candidates, 1))
    noise = np.linspace(1, 0, steps)
    base = final + 2 * noise * rng.normal(size=(prompts, candidates, steps))
    noise_aware = final + noise * rng.normal(size=base.shape)
    if digits is not None:
        base, noise_aware = base.round(digits), noise_aware.round(digits)
    noise_aware[:, :, 2:] = np.nan
    return RewardTensor(base, noise_aware)


@pytest.mark.parametrize("digits", [None, 0])
def test_tau_equals_scipys(digits):
    tensor = example(digits=digits)
    predicted, final = tensor.base[:, :, 1], tensor.base[:, :, -1]
    expected = [kendalltau(x, y).statistic for x, y in zip(predicted, final, strict=True)]
    np.testing.assert_allclose(kendall_tau(predicted, final), expected)


@pytest.mark.parametrize("digits", [None, 0])
def test_cuts_by_their_definition(digits):
    tensor = example(digits=digits)
    predicted, final = tensor.base[:, :, 0], tensor.base[:, :, -1]
    survived, lost = [], []
    for x, y in zip(predicted, final, strict=True):
        order = sorted(range(15), key=lambda c, x=x: (-x[c], c))
        kept = [order[: max(1, round(15 * k / 20))] for k in range(1, 20)]
        lost.append(np.mean([y.max() - y[cut].max() for cut in kept]))
        survived.append(np.mean([y[cut].max() == y.max() for cut in kept]))
    tacc, tgap = top_cuts(predicted, final)
    np.testing.assert_allclose(tacc, survived)
    np.testing.assert_allclose(tgap, lost, atol=1e-6)


def test_a_perfect_and_an_inverted_reward():
    final = example().base[:, :, -1]
    perfect, inverted = alignment(final, final), alignment(-final, final)
    assert (perfect["tau"] == 1).all() and (perfect["tacc"] == 1).all()
    assert (perfect["tgap"] == 0).all() and (perfect["mse"] == 0).all()
    assert (inverted["tau"] == -1).all() and (inverted["tacc"] < 0.01).all()


def test_align_gives_each_step_with_intervals():
    rows = align(example())["steps"]
    assert [row["step"] for row in rows] == [0, 1, 2, 3]
    assert [row["noise_aware"] is not None for row in rows] == [True, True, False, False]
    tau = rows[0]["base"]["tau"]
    assert tau["low"] < tau["value"] < tau["high"]
    difference = rows[0]["tau_difference"]
    assert 0 < difference["low"] < difference["value"] < difference["high"]
    both = rows[0]["noise_aware"]["tau"]["value"] - tau["value"]
    assert difference["value"] == pytest.approx(both)
    assert rows[-1]["base"]["tau"]["value"] == 1 and rows[2]["tau_difference"] is None


def test_the_paired_interval_is_narrower_than_unpaired():
    row = align(example())["steps"][1]
    widths = [r["high"] - r["low"] for r in (row["base"]["tau"], row["noise_aware"]["tau"])]
    difference = row["tau_difference"]
    assert difference["high"] - difference["low"] < sum(widths)


def test_prompts_that_cannot_be_ranked_are_left_out():
    flat = RewardTensor(np.ones((3, 4, 2)))
    assert align(flat)["steps"][0]["base"]["tau"] == {"value": None, "low": None, "high": None}
    assert align(RewardTensor(np.ones((3, 1, 2))))["steps"][0]["base"]["tgap"]["value"] == 0
    assert mean_with_interval(np.array([1.0, np.nan])) == {"value": 1.0, "low": None, "high": None}


def test_align_command(tmp_path):
    write_tensor(tmp_path / "r.h5", example())
    for name in ("a", "b"):
        out = str(tmp_path / f"{name}.json")
        assert main(["align", str(tmp_path / "r.h5"), "--prompts", "0:10", "--json", out]) == 0
    result = read_json(tmp_path / "a.json")
    assert result["prompts"] == 10 and len(result["steps"]) == 4
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
