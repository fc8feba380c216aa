"""Fitted schedules: better than guessed ones, never below best-of-N, reproducible."""

import itertools

import numpy as np
import pytest

from ttsnap.cli import main
from ttsnap.pruning.costs import Costs
from ttsnap.pruning.schedule import Schedule
from ttsnap.simulate.fit import Settings, fit_schedule, search
from ttsnap.simulate.judge import ScheduleJudge
from ttsnap.simulate.montecarlo import simulate
from ttsnap.simulate.summary import summarise
from ttsnap.storage.files import read_json
from ttsnap.storage.tensor import RewardTensor, write_tensor

BUDGETS, COSTS = np.arange(20.0, 101, 10), Costs(1.0, 0.2, 8)
SMALL = Settings(evaluations=300, draws=8, final_draws=40, most_looks=3)


def example(prompts=40, candidates=60, steps=8, seed=0, noise=1.0) -> RewardTensor:
    rng = np.random.default_rng(seed)
    final = rng.normal(size=(prompts, candidates, 1))
    spread = noise * np.linspace(1.5, 0, steps)
    base = final + 2 * spread * rng.normal(size=(prompts, candidates, steps))
    noise_aware = final + spread * rng.normal(size=base.shape)
    noise_aware[:, :, steps - 1 :] = np.nan
    attrs = {"reward": "clip", "denoise_tflop": 1.0, "look_tflop": 0.2}
    return RewardTensor(base, noise_aware, attrs=attrs)


def test_the_judge_agrees_with_the_simulator():
    tensor, schedule = example(), Schedule((1, 4), (0.5, 0.4))
    judged = ScheduleJudge(tensor, BUDGETS, COSTS, "ttsnap", 200, np.random.default_rng(0))(schedule)
    curves = simulate([tensor], BUDGETS, COSTS, schedule, draws=200)
    simulated = summarise(curves, BUDGETS, COSTS, [tensor])["gain"]["ttsnap"]
    assert judged == pytest.approx(simulated["value"], abs=0.05)


def test_search_finds_what_enumeration_finds():
    judge = ScheduleJudge(example(steps=5), BUDGETS, Costs(1.0, 0.2, 5), "ttsnap", 8,
                  np.random.default_rng(0))  # fmt: skip
    found = judge(search(judge, SMALL, np.random.default_rng(1))[0])
    fractions = (0.2, 0.35, 0.5, 0.65, 0.8)
    grid = [Schedule((s,), (f,)) for s in range(4) for f in fractions]
    grid += [
        Schedule(steps, keep)
        for steps in itertools.combinations(range(4), 2)
        for keep in itertools.product(fractions, repeat=2)
    ]
    assert found >= max(map(judge, grid)) - 0.02


def test_an_incumbent_stays_unless_another_schedule_clearly_gains_more():
    tensors = example(), example(seed=1)
    best = fit_schedule(*tensors, BUDGETS, COSTS, "ttsnap", 0, SMALL)["schedule"]
    near = Schedule(tuple(best["steps"]), tuple(f + 0.001 for f in best["keep"]))
    far = Schedule((0,), (0.9,))
    given = BUDGETS, COSTS, "ttsnap", 0, SMALL
    kept = fit_schedule(*tensors, *given, near)
    assert kept["schedule"] == near.as_json() and "incumbent stays" in kept["notes"][0]
    assert not kept["fallback"] and kept["gain"]["held_out"]["value"] > 0.1
    left = fit_schedule(*tensors, *given, far)
    assert left["schedule"] == best and not any("incumbent" in note for note in left["notes"])
    unsuited = fit_schedule(*tensors, *given, Schedule((0,), (0.01,)))
    assert unsuited["schedule"] == best


def test_the_command_takes_an_incumbent(tmp_path, capsys):
    tensor, json = str(tmp_path / "t.h5"), str(tmp_path / "ttsp.json")
    write_tensor(tensor, example())
    words = ["fit-schedule", tensor, "--budgets", "20:100:10", "--evaluations", "200"]
    assert main([*words, "--method", "ttsp", "--json", json]) == 0
    found = str(tmp_path / "ttsnap.json")
    assert main([*words, "--incumbent", json, "--json", found]) == 0
    assert read_json(found)["settings"]["incumbent"] == read_json(json)["schedule"]
    (tmp_path / "bad.json").write_text('{"schedule": {"steps": [9], "keep": [0.5]}}')
    assert main([*words, "--incumbent", str(tmp_path / "bad.json")]) == 2
    assert "step 9 is outside 0..6" in capsys.readouterr().err


def test_fit_gains_on_held_out_prompts_and_is_reproducible():
    tensors = example(), example(seed=1)
    results = [fit_schedule(*tensors, BUDGETS, COSTS, "ttsnap", 0, SMALL) for _ in range(2)]
    assert [r.pop("seconds") > 0 for r in results] == [True, True]
    assert results[0] == results[1]
    result = results[0]
    assert not result["fallback"] and result["evaluated"] == 300
    assert result["gain"]["held_out"]["low"] > 0.1
    steps, keep = result["schedule"]["steps"], result["schedule"]["keep"]
    Schedule(tuple(steps), tuple(keep)).check(8)
    ttsp = fit_schedule(*tensors, BUDGETS, COSTS, "ttsp", 0, SMALL)
    assert ttsp["gain"]["held_out"]["value"] < result["gain"]["held_out"]["value"]


def test_falls_back_to_best_of_n_where_pruning_does_not_pay():
    useless = example(noise=500.0)
    result = fit_schedule(useless, useless, BUDGETS, COSTS, "ttsnap", 0, SMALL)
    assert result["fallback"] and result["schedule"] == {"steps": [], "keep": []}
    assert result["gain"]["held_out"]["value"] == 0 and "does not clearly pay" in result["notes"][0]


def test_falls_back_where_pruning_pays_only_by_overspending():
    """Useless looks: all that exact accounting gains is survivors that it charges a fraction of."""
    rng = np.random.default_rng(0)
    base = -rng.exponential(size=(60, 60, 8))  # bounded above, and no step knows of another
    tensor = RewardTensor(base, attrs={"reward": "clip"})
    costs, budgets = Costs(9.9, 1.2, 8), np.arange(100.0, 501, 25)
    result = fit_schedule(tensor, tensor, budgets, costs, "ttsnap", 0, SMALL)
    assert result["fallback"] and "pays only by survivors" in result["notes"][0]
    tried = result["best_pruning"]
    assert tried["gain"]["low"] > 0 > tried["gain_realised"]["high"]


def test_a_tensor_with_nothing_to_prune_by_says_so():
    tensor = example()
    tensor.noise_aware = None
    tensor.base[:, :, :-1] = np.nan
    result = fit_schedule(tensor, tensor, BUDGETS, COSTS, "ttsnap", 0, SMALL)
    assert result["fallback"] and "no reward before the final step" in result["notes"][0]


def test_falls_back_where_the_pool_is_too_small():
    small = example(candidates=2)
    result = fit_schedule(small, small, np.array([9.0, 17.0]), COSTS, "ttsnap", 0, SMALL)
    assert result["fallback"]


@pytest.mark.parametrize("tensor", [example(prompts=1), example(candidates=3)])
def test_small_tensors(tensor):
    result = fit_schedule(tensor, tensor, np.array([9.0, 17.0, 25.0]), COSTS, "ttsnap", 0, SMALL)
    assert set(result) >= {"schedule", "gain", "seconds", "evaluated", "fallback"}


def test_only_steps_with_values_are_looked_at():
    tensor = example()
    tensor.noise_aware = None
    tensor.base[:, :, [0, 1, 2, 4, 6]] = np.nan
    judge = ScheduleJudge(tensor, BUDGETS, COSTS, "ttsnap", 4, np.random.default_rng(0))
    assert judge.steps == [3, 5]
    assert all(set(s.looks) <= {3, 5} for s in search(judge, SMALL, np.random.default_rng(0)))


def run(tmp_path, *options, tensor=None):
    write_tensor(tmp_path / "r.h5", tensor or example())
    out = tmp_path / "s.json"
    options = ["--budgets", "20:100:20", "--evaluations", "60", *options, "--json", str(out)]
    return main(["fit-schedule", str(tmp_path / "r.h5"), *options]), out


def test_fit_schedule_command_and_simulate_with_its_file(tmp_path):
    status, out = run(tmp_path, "--fit-prompts", "0:20", "--test-prompts", "20:40", "--per-budget")
    assert status == 0
    result = read_json(out)
    assert {"fit", "held_out"} <= set(result["gain"]) and result["evaluated"] == 60
    assert [row["budget"] for row in result["per_budget"]] == [20, 40, 60, 80, 100]
    for row in result["per_budget"]:
        assert not row["fallback"] and row["schedule"]["steps"], "pruning pays on this tensor"
        assert row["gain"]["held_out"]["unit"] == "clip" and row["gain"]["fit"]["low"] > 0
    arguments = ["--schedule", str(out), "--budgets", "20:100:20", "--json", str(tmp_path / "o")]
    assert main(["simulate", str(tmp_path / "r.h5"), *arguments]) == 0
    assert read_json(tmp_path / "o")["schedules"]["ttsnap"] == result["schedule"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--fit-prompts", "0:30", "--test-prompts", "20:40"], "overlaps"),
        (["--fit-prompts", "0:99"], "--fit-prompts"),
        (["--method", "oracle"], "method"),
        (["--evaluations", "0"], "--evaluations"),
        (["--budgets", "1,2"], "budgets"),
    ],
)
def test_bad_settings_are_one_line(tmp_path, capsys, options, says):
    assert run(tmp_path, *options)[0] == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1


def test_one_prompt_cannot_be_split(tmp_path, capsys):
    assert run(tmp_path, tensor=example(prompts=1))[0] == 2
    assert "one prompt" in capsys.readouterr().err
