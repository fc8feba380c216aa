"""Drafts in the simulator and in `align`, against loops written out."""

import numpy as np
import pytest
from test_simulate import chosen_by_hand

from ttsnap.errors import BadInput
from ttsnap.finetune.alignment import align
from ttsnap.pruning.costs import Costs
from ttsnap.pruning.schedule import Schedule, survivors
from ttsnap.simulate.methods import METHODS
from ttsnap.simulate.montecarlo import draw_candidates, simulate
from ttsnap.simulate.summary import summarise
from ttsnap.storage.costs import costs_of
from ttsnap.storage.tensor import RewardTensor

NAMES, STEPS = ["few", "onestep"], 5
TFLOP = {"few": 2.5, "onestep": 0.75}
SCHEDULE = Schedule(("onestep", "few", 2), (0.7, 0.6, 0.5))
LOOKS = [*NAMES, *range(STEPS)]


def example(prompts=4, candidates=12, seed=0, ties=False, name="clip") -> RewardTensor:
    """Noise-aware rewards of "few" and of step 1; base rewards of every look."""
    rng = np.random.default_rng(seed)
    final = rng.normal(size=(prompts, candidates, 1))
    noise = np.array([0.8, 1.5, 1.0, 0.7, 0.5, 0.2, 0.0])
    base = final + noise * rng.normal(size=(prompts, candidates, len(LOOKS)))
    aware = final + 0.5 * noise * rng.normal(size=base.shape)
    aware[:, :, [at for at, look in enumerate(LOOKS) if look not in ("few", 1)]] = np.nan
    if ties:
        base, aware = base.round(), aware.round()
    drafts = {draft: {"steps": 1, "tflop": tflop} for draft, tflop in TFLOP.items()}
    attrs = {"reward": name, "denoise_tflop": 1.0, "look_tflop": 0.5, "final_look_tflop": 0.8, "drafts": drafts}
    return RewardTensor(base, aware, attrs=attrs, drafts=list(NAMES))


def read_by_hand(tensor, method: str, prompt: int) -> list[np.ndarray]:
    """What a method reads at the looks of SCHEDULE."""
    found = []
    for look in SCHEDULE.looks:
        at = LOOKS.index(look)
        aware, base = tensor.noise_aware[prompt, :, at], tensor.base[prompt, :, at]
        found.append(aware if method == "ttsnap" and not np.isnan(aware[0]) else base)
    return found


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("rewards", [1, 2])
@pytest.mark.parametrize("method", ["ttsp", "ttsnap"])
def test_the_pick_is_that_of_a_loop(method, rewards, ties):
    tensors = [example(seed=seed, ties=ties, name=f"r{seed}") for seed in range(rewards)]
    drawn = draw_candidates(np.random.default_rng(1), 4, 12, 25, 11)
    chosen = METHODS[method](tensors, SCHEDULE, None)(drawn, [1, 4, 11])
    for row, count in enumerate((1, 4, 11)):
        for prompt in range(4):
            looks = [read_by_hand(tensor, method, prompt) for tensor in tensors]
            finals = [tensor.base[prompt, :, -1] for tensor in tensors]
            for draw in range(25):
                # In a draw the order of candidates means nothing: ties go by id.
                ids = sorted(drawn[prompt, draw, :count].tolist())
                assert chosen[row, prompt, draw] == chosen_by_hand(looks, finals, ids, SCHEDULE.keep)


def spent_by_hand(candidates: int, accounting: str) -> float:
    """What a search that starts so many spends: each draft, look and evaluation one by one."""
    total, left, at = 0.0, float(candidates), -1
    for look, fraction in zip(SCHEDULE.looks, SCHEDULE.keep, strict=True):
        if isinstance(look, str):
            total += left * (TFLOP[look] + 0.5)
        else:
            evaluations = look - at - (accounting == "published" and at == -1)
            total, at = total + left * (evaluations * 1.0 + 0.5), look
        left = left * fraction if accounting in ("exact", "published") else max(1, round(left * fraction))
    return total + left * ((STEPS - 1 - at) * 1.0 + 0.8)


@pytest.mark.parametrize("accounting", ["exact", "published", "whole"])
def test_costs_are_those_of_a_loop(accounting):
    costs = costs_of([example()], accounting=accounting)
    assert costs.drafts == TFLOP and costs.final == 0.8
    if accounting == "whole":
        for count in range(1, 30):
            assert float(costs.spent(count, SCHEDULE)) == pytest.approx(spent_by_hand(count, "whole"))
    else:
        assert costs.schedule(SCHEDULE) == pytest.approx(spent_by_hand(1, accounting))
    assert costs.best_of_n() == pytest.approx(STEPS + 0.8)
    assert costs.schedule(Schedule()) == pytest.approx(STEPS + 0.8)


@pytest.mark.parametrize("accounting", ["exact", "published", "whole"])
def test_simulate_starts_what_the_budget_pays_for_and_takes_the_loops_mean(accounting):
    tensor, budgets = example(), np.array([12.0, 20.0, 31.0])
    costs = costs_of([tensor], accounting=accounting)
    curve = simulate([tensor], budgets, costs, SCHEDULE, draws=2000)["ttsnap"]
    rng = np.random.default_rng(3)
    for column, budget in enumerate(budgets):
        count = int(budget // spent_by_hand(1, "exact" if accounting == "whole" else accounting))
        if accounting == "whole":
            while spent_by_hand(count, "whole") > budget:
                count -= 1
            assert curve.spent[column] <= budget
        assert curve.candidates[column] == count <= 12
        assert curve.spent[column] == pytest.approx(spent_by_hand(count, "whole") - published(accounting, count))
        for prompt in range(4):
            looks, final = [read_by_hand(tensor, "ttsnap", prompt)], tensor.base[prompt, :, -1]
            picks = [
                final[chosen_by_hand(looks, [final], sorted(rng.permutation(12)[:count]), SCHEDULE.keep)]
                for _ in range(1500)
            ]
            spread = np.std(picks) / np.sqrt(1500) + np.std(picks) / np.sqrt(2000)
            found = curve.by_prompt["clip"][column, prompt]
            assert found == pytest.approx(np.mean(picks), abs=4 * spread + 1e-6)


def published(accounting: str, candidates: int) -> float:
    """What published accounting leaves out: the first evaluation of those that reach the first step."""
    return survivors(candidates, SCHEDULE.keep)[1] * 1.0 if accounting == "published" else 0.0


def test_a_draft_without_a_reward_or_a_cost_is_refused():
    tensor, budgets = example(), np.array([20.0])
    with pytest.raises(BadInput, match="'none' is neither a step nor a draft; there are few, onestep"):
        simulate([tensor], budgets, costs_of([tensor]), Schedule(("none",), (0.5,)))
    with pytest.raises(BadInput, match="draft few: its cost is not known"):
        simulate([tensor], budgets, Costs(1.0, 0.5, STEPS), Schedule(("few",), (0.5,)))
    tensor.base[:, :, 1] = tensor.noise_aware[:, :, 1] = np.nan
    with pytest.raises(BadInput, match="draft onestep: the tensor has no clip reward there; choose among draft few"):
        simulate([tensor], budgets, costs_of([tensor]), SCHEDULE)


def test_align_has_a_row_for_each_draft():
    tensor = example()
    found = align(tensor)
    assert [row["draft"] for row in found["drafts"]] == NAMES
    assert [row["step"] for row in found["steps"]] == [0, 1, 2, 3, 4]
    assert {row["draft"]: row["tflop"] for row in found["drafts"]} == {"few": 3.0, "onestep": 1.25}
    assert [row["tflop"] for row in found["steps"]] == [1.5, 2.5, 3.5, 4.5, STEPS + 0.8]
    assert found["full_tflop"] == STEPS + 0.8 and found["levels"] == ["few", 1]
    few, onestep = found["drafts"]
    assert onestep["noise_aware"] is None and few["tau_difference"] is not None


def test_tacc_of_a_quarter_is_how_often_the_best_survives_that_cut():
    tensor = example(prompts=7, candidates=10)
    found = align(tensor)
    for rows, kind, values in (("base", "base", tensor.base), ("noise_aware", "noise_aware", tensor.noise_aware)):
        for row in [*found["drafts"], *found["steps"]]:
            if row[rows] is None:
                continue
            at, hits = LOOKS.index(row.get("draft", row.get("step"))), []
            for prompt in range(7):
                order = sorted(range(10), key=lambda c, p=prompt, at=at, v=values: -v[p, c, at])
                kept = order[: max(1, round(10 * 0.25))]
                final = tensor.base[prompt, :, -1]
                hits.append(max(final[kept]) == max(final))
            assert row[kind]["tacc_quarter"]["value"] == pytest.approx(np.mean(hits))


def test_a_difference_of_gains_is_over_the_budgets_of_both():
    """TTSnap starts more than the pool at the largest budget: TTSp's gain counts there, their difference does not."""
    tensor, costs = example(prompts=6), costs_of([example()])
    budgets = np.array([2.0, 3.0, 4.0, 6.0]) * costs.best_of_n()
    own = {"ttsnap": Schedule(("onestep",), (0.2,)), "ttsp": Schedule((1,), (0.9,))}
    curves = simulate([tensor], budgets, costs, Schedule(), schedules=own)
    known = np.isfinite(curves["ttsnap"].by_prompt["clip"].mean(1))
    assert 2 <= known.sum() < 4 and np.isfinite(curves["ttsp"].by_prompt["clip"]).all()
    found = summarise(curves, budgets, costs, [tensor])["gain_difference"]["ttsnap_minus_ttsp"]
    few = simulate([tensor], budgets[known], costs, Schedule(), schedules=own)
    gains = summarise(few, budgets[known], costs, [tensor])["gain"]
    assert found["value"] == pytest.approx(gains["ttsnap"]["value"] - gains["ttsp"]["value"], rel=1e-6)
    assert found["budgets"] == budgets[known][[0, -1]].tolist() and found["low"] <= found["value"] <= found["high"]
