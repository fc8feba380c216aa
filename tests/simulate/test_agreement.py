"""Real searches beside the simulation: synthetic searches with a known outcome."""

import json

import numpy as np
import pytest

from ttsnap.cli import main
from ttsnap.errors import BadInput
from ttsnap.pruning.costs import Costs
from ttsnap.pruning.schedule import Schedule
from ttsnap.report.pages import render
from ttsnap.report.searches import search_page
from ttsnap.simulate.agreement import compare, join_searches
from ttsnap.simulate.methods import METHODS
from ttsnap.simulate.montecarlo import best_of_n
from ttsnap.storage.files import write_json
from ttsnap.storage.tensor import RewardTensor, write_tensor

PROMPTS, POOL, STEPS = 40, 12, 6
SCHEDULES = {"best_of_n": Schedule(), "ttsp": Schedule((1, 3), (0.5, 0.5)), "ttsnap": Schedule((1,), (0.4,))}
COSTS = Costs(1.0, 0.5, STEPS, "whole")


def world(seed: int, prompts: int = PROMPTS) -> RewardTensor:
    """A pool of candidates; a prompt is equally hard under every seed."""
    hard = np.random.default_rng(99).normal(size=(prompts, 1, 1))
    rng = np.random.default_rng(seed)
    quality = rng.normal(size=(prompts, POOL, 1))
    noise = rng.normal(size=(prompts, POOL, STEPS)) * np.linspace(2, 0, STEPS)
    base = hard + quality + noise
    accepted = np.repeat(quality > 0.5, STEPS, 2)
    return RewardTensor(base, base, accepted, attrs={"reward": "pickscore"})


def search(tensor: RewardTensor, method: str, budget: float, bonus: float = 0.0) -> dict:
    """What a real search among a tensor's first candidates would have written."""
    schedule = SCHEDULES[method]
    count = int(COSTS.within(budget * COSTS.best_of_n() + 1e-9, schedule))
    drawn = np.tile(np.arange(count, dtype=np.int32), (len(tensor.prompts), 1, 1))
    choose = METHODS["ttsp" if method == "best_of_n" else method]([tensor], schedule, None)
    picks = choose(drawn, [count])[0, :, 0]
    settings = {
        "method": method, "schedule": schedule.as_json(), "budget": budget,
        "budget_unit": "candidates", "first_candidate": POOL, "seed": 0, "sampler": {},
        "weights": "w", "checker": None,
        "rewards": [{"name": "pickscore", "units": {}, "made_from": {}, "levels": {}}],
    }  # fmt: skip
    rows = [
        {
            "prompt": prompt,
            "file": prompt,
            "candidate": int(pick),
            "rewards": {"pickscore": float(tensor.base[p, pick, -1]) + bonus},
            "accepted": bool(tensor.accepted[p, pick, -1]),
            "spent_tflop": float(COSTS.spent(count, schedule)),
        }
        for p, (prompt, pick) in enumerate(zip(tensor.prompts, picks, strict=True))
    ]
    summary = {
        "settings": settings, "candidates": count, "budget_tflop": budget * COSTS.best_of_n(),
        "notes": [], "prompts": rows,
    }  # fmt: skip
    seconds = {"prompts": [{"denoise": 1.0, "total": 1.0 + count, "cpu": 1.0}] * len(rows)}
    return {"summary": summary, "seconds": seconds, "where": f"{method}/{budget}"}


def searches(tensor: RewardTensor, budgets=(2, 4), bonus=0.0) -> list[dict]:
    return [search(tensor, m, b, bonus) for b in budgets for m in ("ttsnap", "ttsp", "best_of_n")]


def test_fresh_candidates_of_the_same_world_agree():
    result = compare(join_searches(searches(world(1))), [world(2)], draws=200)
    assert [(row["budget"], row["method"]) for row in result["rows"]] == [
        (budget, method) for budget in (2, 4) for method in SCHEDULES
    ]
    assert result["compared"] == 12 and result["differing"] <= 2
    assert result["fresh"]
    for row in result["rows"]:
        measured, difference = row["measured"]["pickscore"], row["difference"]["pickscore"]
        assert measured["low"] < measured["value"] < measured["high"]
        assert difference["value"] == pytest.approx(measured["value"] - row["predicted"]["pickscore"]["value"])
        assert row["most_spent_tflop"] <= row["budget_tflop"]
    bon = result["rows"][0]
    assert bon["predicted"]["pickscore"]["value"] == pytest.approx(
        best_of_n(world(2), np.array([2]))["pickscore"].mean()
    )
    assert bon["over_best_of_n"] is None
    over = result["rows"][2]["over_best_of_n"]
    assert over["measured"]["pickscore"]["value"] == pytest.approx(
        result["rows"][2]["measured"]["pickscore"]["value"] - bon["measured"]["pickscore"]["value"]
    )


def test_another_world_is_told_apart():
    result = compare(join_searches(searches(world(1), bonus=2.0)), [world(2)], draws=50)
    assert all("pickscore" in row["differs"] for row in result["rows"])


def test_beyond_the_pool_nothing_is_predicted():
    tensor = world(1)
    few = RewardTensor(tensor.base[:, :3], tensor.noise_aware[:, :3], tensor.accepted[:, :3], attrs=tensor.attrs)
    result = compare(join_searches(searches(tensor)), [few], draws=10)
    assert result["rows"][-1]["predicted"] == {} and result["rows"][0]["predicted"]


def test_one_prompt_has_no_interval():
    result = compare(join_searches(searches(world(1, 1))), [world(2, 1)], draws=10)
    assert result["rows"][0]["measured"]["pickscore"]["low"] is None
    assert result["differing"] == 0
    render("search", **search_page(result))


def test_page_states_the_result():
    result = compare(join_searches(searches(world(1))), [world(2)], draws=50)
    page = render("search", **search_page(result))
    assert "The search for real" in page and page.count("<table>") == 2
    assert "TTSnap is " in page and "data:image/png;base64," in page
    assert page == render("search", **search_page(json.loads(json.dumps(result))))


def test_searches_that_do_not_belong_together_are_refused():
    parts = searches(world(1))
    parts[0]["summary"]["settings"]["seed"] = 1
    more = search(world(1), "ttsnap", 2)
    with pytest.raises(BadInput, match="ttsnap/2: made with seed 0, the searches before it with 1"):
        join_searches([*parts, more])
    other = searches(world(1, 3))
    with pytest.raises(BadInput, match="not all of the same prompts"):
        compare(join_searches([*searches(world(1), (2,)), *searches(world(1, 3), (4,))]), [world(2)])
    with pytest.raises(BadInput, match="do not begin with the prompts"):
        compare(join_searches(other), [world(2).select(slice(5, 9))])
    named = world(2)
    named.attrs = {"reward": "hps"}
    with pytest.raises(BadInput, match=r"hold \['hps'\], the searches went by \['pickscore'\]"):
        compare(join_searches(other), [named])


def test_command(tmp_path, capsys):
    parts = searches(world(1))
    folders = [tmp_path / str(number) for number in range(len(parts))]
    for folder, part in zip(folders, parts, strict=True):
        for name in ("summary", "seconds"):
            write_json(folder / f"{name}.json", part[name])
    write_tensor(tmp_path / "t.h5", world(2))
    words = ["compare-search", *map(str, folders), "--tensor", str(tmp_path / "t.h5")]
    out = tmp_path / "c.json"
    assert main([*words, "--draws", "20", "--json", str(out)]) == 0
    assert json.loads(out.read_text())["compared"] == 12
    page = tmp_path / "search.html"
    assert main(["report", "--part", "search", "--comparison", str(out), "--out", str(page)]) == 0
    assert main(["compare-search", str(tmp_path / "none"), *words[-2:]]) == 2
    assert "none: no such folder" in capsys.readouterr().err
