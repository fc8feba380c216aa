"""`ttsnap simulate`: its files, the published figures, small tensors and broken settings."""

import sys
from pathlib import Path

import numpy as np
import pytest
from tensors import example

from ttsnap.cli import main
from ttsnap.storage.files import read_json
from ttsnap.storage.tensor import RewardTensor, write_tensor

PUBLISHED = Path(__file__).parents[3] / "shared" / "published"


def run(tmp_path, tensor, *options, others=(), name="r"):
    files = [str(tmp_path / f"r{number}.h5") for number in range(1 + len(others))]
    for file, content in zip(files, [tensor, *others], strict=True):
        write_tensor(file, content)
    out = tmp_path / f"{name}.json"
    schedule = [] if "--schedule" in options else ["--steps", "0,2", "--keep", "0.5,0.5"]
    options = [*schedule, "--budgets", "6:16:2", *options]
    status = main(["simulate", *files, *options, "--json", str(out)])
    return status, read_json(out) if status == 0 else None


def test_simulate_command(tmp_path):
    outputs = ["--csv", str(tmp_path / "r.csv"), "--figure", str(tmp_path / "r.png")]
    status, result = run(tmp_path, example(10, 12), "--budgets", "7:17:2", *outputs)
    assert status == 0
    assert list(result["methods"]) == ["best_of_n", "ttsp", "ttsnap", "oracle", "random"]
    assert list(result["gain"]) == ["ttsp", "ttsnap", "oracle", "random"]
    for curve in result["methods"].values():
        assert curve["budget"] == [7, 9, 11, 13, 15, 17]
        keys = ("reward", "low", "high", "candidates", "spent", "accepted", "accepted_low")
        assert all(len(curve[key]) == 6 for key in keys)
        for value, low, high in zip(curve["reward"], curve["low"], curve["high"], strict=True):
            assert low <= value <= high
    assert result["fallback_looks"] == [] and result["notes"] == []
    assert result["settings"]["denoise_cost"] == 1.0
    assert len((tmp_path / "r.csv").read_text().splitlines()) == 1 + 5 * 6
    assert (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    tensor = example(10, 12)
    for name, seed in (("a", "0"), ("b", "0"), ("c", "1")):
        run(tmp_path, tensor, "--seed", seed, name=name)
    first, second, other = ((tmp_path / f"{name}.json").read_bytes() for name in "abc")
    assert first == second != other


def test_a_schedule_of_each_method_from_a_file(tmp_path):
    (tmp_path / "s.json").write_text('{"schedule": {"steps": [1], "keep": [0.5]}}')
    (tmp_path / "none.json").write_text('{"schedule": {"steps": [], "keep": []}}')
    files = ["--schedule", str(tmp_path / "s.json"), "--ttsp-schedule", str(tmp_path / "none.json")]
    status, result = run(tmp_path, example(10, 12), *files)
    assert status == 0
    assert result["schedules"]["ttsnap"] == {"steps": [1], "keep": [0.5]}
    assert result["schedules"]["ttsp"] == {"steps": [], "keep": []}
    curves = result["methods"]
    assert curves["ttsp"]["candidates"] == curves["best_of_n"]["candidates"]
    assert curves["ttsnap"]["candidates"] != curves["best_of_n"]["candidates"]


def test_the_fallback_is_reported(tmp_path, capsys):
    status, result = run(tmp_path, example(10, 12), "--steps", "1,3")
    assert status == 0 and result["fallback_looks"] == [3]
    assert "base reward at step 3:" in capsys.readouterr().err
    status, result = run(tmp_path, RewardTensor(example().base, attrs=example().attrs))
    assert status == 0 and result["fallback_looks"] == [0, 2]


def test_budgets_too_small_and_beyond_the_pool_are_reported(tmp_path):
    status, result = run(tmp_path, example(10, 12), "--budgets", "2,4,8,16,32,64,128")
    assert status == 0
    bon, ttsnap = result["methods"]["best_of_n"], result["methods"]["ttsnap"]
    assert bon["candidates"] == [0, 0, 1, 2, 5, 11, 23]
    assert [value is None for value in bon["reward"]] == [True] * 2 + [False] * 4 + [True]
    assert ttsnap["candidates"][-2] > 12 and ttsnap["reward"][-2] is None
    assert result["gain"]["ttsnap"]["budgets"] == [8, 32]
    assert any("under the 5.5" in note for note in result["notes"])
    assert any("more than the 12 candidates" in note for note in result["notes"])


def test_budgets_that_finish_no_candidate_are_reported(tmp_path):
    """A candidate that this schedule finishes costs 6.5, and is charged 3.375 by fractions."""
    options = ["--steps", "0,2", "--keep", "0.5,0.5", "--budgets", "2,4,6,8,16"]
    _, result = run(tmp_path, example(10, 12), *options)
    assert result["methods"]["ttsnap"]["candidates"][:3] == [0, 1, 1]
    assert [note for note in result["notes"] if note.startswith("ttsp, ttsnap, oracle, random: ")] == [
        "ttsp, ttsnap, oracle, random: budgets up to 2 are under the 3.375 that one candidate costs: not simulated",
        "ttsp, ttsnap, oracle, random: budgets up to 6 are under the 6.5 that one candidate costs if "
        "it is finished; --accounting whole leaves them out",
    ]
    for name in ("whole", "realised"):
        _, result = run(tmp_path, example(10, 12), *options, "--accounting", name)
        assert result["methods"]["ttsnap"]["candidates"][:3] == [0, 0, 0]
        assert any("up to 6 are under the 6.5 that one" in note for note in result["notes"])
        assert result["settings"]["accounting"] == name


def test_a_step_with_nothing_to_read_names_those_that_have(tmp_path, capsys):
    tensor = example()
    tensor.base[:, :, :-1] = np.nan
    assert run(tmp_path, tensor, "--steps", "0,3")[0] == 2
    assert "step 3: the tensor has no clip reward there; choose among steps 0, 1, 2" in (capsys.readouterr().err)
    status, result = run(tmp_path, tensor)
    assert status == 0 and result["methods"]["ttsp"]["reward"] == [None] * 6


@pytest.mark.parametrize(
    ("chosen", "says"),
    [
        ("drawn[:, :, 0]", "it chose int32 [5, 1]; it must choose whole numbers [1, 5, 1]"),
        ("drawn[None, :, :, 0] * 1.0", "it chose float64"),
        ("drawn[None, :, :, 0] * 0 + 12", "it chose candidate 12, which is none of 0..11"),
        ("drawn[None, :, :, 0] * 0 - 1", "it chose candidate -1"),
    ],
)
def test_a_custom_method_that_chooses_no_candidates(tmp_path, capsys, monkeypatch, chosen, says):
    text = f"def mine(tensors, schedule, rng):\n    return lambda drawn, counts: {chosen}\n"
    (tmp_path / "odd_method.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "odd_method", raising=False)
    options = ["--budgets", "6", "--draws", "1", "--method", "mine=odd_method:mine"]
    assert run(tmp_path, example(5, 12), *options)[0] == 2
    error = capsys.readouterr().err
    assert f"method mine: {says}" in error and error.count("\n") == 1


def test_a_figure_of_methods_without_values(tmp_path):
    tensor = example(5, 3)
    tensor.base[:, :, 2] = np.nan
    for budgets in ("6:8:1", "600:800:100"):
        figure = tmp_path / f"{budgets[0]}.png"
        assert run(tmp_path, tensor, "--budgets", budgets, "--figure", str(figure))[0] == 0
        assert figure.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "tensor",
    [example(1, 12), example(5, 1), example(1, 1), RewardTensor(np.ones((3, 12, 5)), attrs=example().attrs)],
    ids=["one prompt", "one candidate", "one of each", "all equal"],
)
def test_small_and_flat_tensors(tmp_path, tensor):
    status, result = run(tmp_path, tensor, "--budgets", "6:8:1")
    assert status == 0
    best = result["methods"]["best_of_n"]
    assert best["reward"][0] == pytest.approx(tensor.base[:, :, -1].mean())
    assert best["low"][0] <= best["reward"][0] + 1e-9 and best["candidates"][0] == 1
    assert result["gain"]["oracle"]["value"] is None
    assert any("no gain" in note for note in result["notes"])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--steps", "2,0"], "ascending"),
        (["--steps", "2,2"], "ascending"),
        (["--steps", "0,4"], "step 4 is outside 0..3"),
        (["--steps", "-1,2"], "--looks: '-1' is neither a step"),
        (["--steps", "a"], "'a' is neither a step nor a draft"),
        (["--keep", "0.5"], "2 looks but 1 keep"),
        (["--keep", "0.5,0"], "--keep: '0' is too small; give more than 0"),
        (["--keep", "0.5,1.1"], "--keep: '1.1' is too large; give 1 or less"),
        (["--keep", "0.5,nan"], "not finite"),
        (["--budgets", "1:2"], "--budgets"),
        (["--budgets", "9:2:1"], "--budgets"),
        (["--budgets", "1:2:0"], "--budgets"),
        (["--budgets", "1,2"], "under the cost of one"),
        (["--prompts", "2:9"], "--prompts"),
        (["--prompts", "1"], "--prompts: '1' is not a range like 0:100"),
        (["--draws", "0"], "draws"),
        (["--seed", "-1"], "--seed"),
        (["--accounting", "free"], "accounting"),
        (["--look-cost", "-1"], "--look-cost: '-1' is too small"),
        (["--schedule", "/nowhere.json"], "/nowhere.json"),
        (["--method", "x=nowhere:f"], "--method"),
    ],
)
def test_bad_settings_are_one_line(tmp_path, capsys, options, says):
    joined = [f"{options[0]}={options[1]}"]
    assert run(tmp_path, example(), *joined)[0] == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1


def test_a_look_at_several_rewards_costs_them_all(tmp_path):
    other = example(10, 12, seed=1, name="aesthetic")
    other.attrs["reward_tflop"] = 0.25
    status, result = run(tmp_path, example(10, 12), others=[other])
    assert status == 0 and result["settings"]["look_cost"] == 0.75


def test_unknown_costs_have_to_be_given(tmp_path, capsys):
    assert run(tmp_path, RewardTensor(example().base))[0] == 2
    assert "--denoise-cost" in capsys.readouterr().err


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason=f"no published values at {PUBLISHED}")
def test_the_published_figures(tmp_path):
    out = tmp_path / "flux.h5"
    folders = [str(PUBLISHED / f"flux_imr_val_{kind}") for kind in ("base", "naft")]
    arguments = ["--base", folders[0], "--noise-aware", folders[1], "--out", str(out)]
    assert main(["import-values", *arguments]) == 0
    gains = {}
    for accounting in ("published", "exact"):
        costs = ["--denoise-cost", "9.9", "--look-cost", "1.2", "--accounting", accounting]
        json = tmp_path / f"{accounting}.json"
        assert main(["simulate", str(out), *costs, "--json", str(json)]) == 0
        result = read_json(json)
        gains[accounting] = result["gain"]
        if accounting == "published":
            at_2000 = {name: curve["reward"][8] for name, curve in result["methods"].items()}
    assert at_2000["best_of_n"] == pytest.approx(1.426, abs=0.005)
    assert at_2000["ttsnap"] == pytest.approx(1.522, abs=0.01)
    assert gains["published"]["ttsnap"]["value"] == pytest.approx(0.31, abs=0.012)
    assert gains["published"]["ttsp"]["value"] == pytest.approx(0.088, abs=0.012)
    assert gains["exact"]["ttsnap"]["value"] == pytest.approx(0.238, abs=0.012)
    assert gains["published"]["ttsnap"]["low"] < 0.306 < gains["published"]["ttsnap"]["high"]
