"""Fitted schedules: better than guessed ones, never below best-of-N, reproducible."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from ttsnap.cli import main
from ttsnap.pruning.costs import Costs
from ttsnap.pruning.schedule import BEST_OF_N, Schedule
from ttsnap.simulate.fit import Settings, fit_schedule, search
from ttsnap.simulate.judge import ScheduleJudge, modelled_prompts
from ttsnap.simulate.montecarlo import simulate
from ttsnap.simulate.summary import summarise
from ttsnap.storage.files import read_json
from ttsnap.storage.tensor import RewardTensor, write_tensor

BUDGETS, COSTS = np.arange(20.0, 101, 10), Costs(1.0, 0.2, 8)
WHOLE = replace(COSTS, accounting="whole")
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
    assert result["fallback"] and result["schedule"] == BEST_OF_N.as_json()
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
    assert judge.looks == [3, 5]
    assert all(set(s.looks) <= {3, 5} for s in search(judge, SMALL, np.random.default_rng(0)))


def test_modelled_prompts_are_like_those_they_are_drawn_from():
    """They correlate with the final reward as much, and as differently over prompts, and have its distribution."""
    tensor = example(prompts=80, candidates=60)
    tensor.base[::2, :, 4] = tensor.base[::2, :, 0]  # step 4 tells much of every second prompt only
    tensor.base[:, :, -1] = np.exp(0.5 * tensor.base[:, :, -1])
    drawn = modelled_prompts(tensor.base, 80, np.random.default_rng(0))

    def correlations(values: np.ndarray) -> np.ndarray:
        order = values.argsort(1).argsort(1)
        return np.array([np.corrcoef(prompt.T)[-1, :-1] for prompt in order])

    given, found = correlations(tensor.base), correlations(drawn)
    assert found.mean(0) == pytest.approx(given.mean(0), abs=0.04)
    assert found.std(0) == pytest.approx(given.std(0), abs=0.05) and found[:, 4].std() > 2 * found[:, 6].std()
    shape = [np.quantile(values[:, :, -1], (0.05, 0.5, 0.95, 0.995)) for values in (tensor.base, drawn)]
    assert shape[1] == pytest.approx(shape[0], rel=0.12)


@pytest.mark.parametrize("shape", [(1, 1, 2), (1, 5, 3), (4, 1, 3), (3, 2, 8)])
def test_modelled_prompts_of_the_smallest_tensors(shape):
    values = np.random.default_rng(0).normal(size=shape)
    assert np.isfinite(modelled_prompts(values, 7, np.random.default_rng(0))).all()
    flat = modelled_prompts(np.full(shape, 2.5), 7, np.random.default_rng(0))
    assert (flat[:, :, -1] == 2.5).all()


def test_a_few_prompts_do_not_mislead():
    """Fitted on 12 noisy prompts, schedules gain on others, no less than the best single look on the same prompts."""
    world, budgets = example(prompts=300, candidates=48, noise=2.0, seed=5), np.arange(24.6, 66, 8.2)
    others = ScheduleJudge(world.select(slice(100, 300)), budgets, WHOLE, "ttsnap", 8, np.random.default_rng(1))
    fitted, single = [], []
    for split in range(6):
        few = world.select(slice(12 * split, 12 * split + 12))
        found = fit_schedule(few, few, budgets, WHOLE, "ttsnap", split, SMALL)["schedule"]
        judge = ScheduleJudge(few, budgets, WHOLE, "ttsnap", 8, np.random.default_rng(split))
        looks = [Schedule((step,), (fraction / 10,)) for step in range(7) for fraction in range(1, 10)]
        fitted.append(others.gains(Schedule.from_json(found)).mean())
        single.append(others.gains(max(looks, key=judge)).mean())
    assert min(fitted) > 0 and np.mean(fitted) > np.mean(single) - 0.02


def with_draft(tau: float, cost: float, seed: int = 0) -> tuple[RewardTensor, Costs]:
    """A tensor with a draft whose reward agrees with the final one as normal values of Kendall's `tau` do."""
    tensor, rho = example(prompts=30, seed=seed), np.sin(np.pi / 2 * tau)
    final = tensor.base[:, :, -1:]
    draft = rho * final + (1 - rho**2) ** 0.5 * np.random.default_rng(seed + 9).normal(size=final.shape)
    base, noise_aware = (np.concatenate([draft, v], axis=2) for v in (tensor.base, tensor.noise_aware))
    return RewardTensor(base, noise_aware, drafts=["few"], attrs=tensor.attrs), replace(WHOLE, drafts={"few": cost})


@pytest.mark.parametrize(("tau", "cost", "used"), [(0.5, 0.5, True), (0.5, 8.0, False), (0.0, 0.5, False)])
def test_a_draft_is_used_where_it_pays(tau, cost, used):
    tensor, costs = with_draft(tau, cost)
    result = fit_schedule(tensor, with_draft(tau, cost, 1)[0], BUDGETS, costs, "ttsnap", 0, SMALL)
    alone = fit_schedule(tensor, tensor, BUDGETS, costs, "ttsnap", 0, SMALL, without_drafts=True)
    assert ("few" in Schedule.from_json(result["schedule"]).looks) == used
    if used:
        assert result["schedule"]["looks"][0] == "few" and "steps" not in result["schedule"]
        assert result["gain"]["fit"]["value"] > alone["gain"]["fit"]["value"] + 0.05


def test_without_drafts_nothing_changes():
    tensor, costs = with_draft(0.5, 0.5)
    plain = replace(tensor, base=tensor.base[:, :, 1:], noise_aware=tensor.noise_aware[:, :, 1:], drafts=[])
    fits = [
        fit_schedule(plain, plain, BUDGETS, WHOLE, "ttsnap", 0, SMALL),
        fit_schedule(tensor, tensor, BUDGETS, costs, "ttsnap", 0, SMALL, without_drafts=True),
    ]
    assert [fit.pop("seconds") > 0 for fit in fits] == [True, True] and fits[0] == fits[1]


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
