"""Budgets are kept, in every unit; impossible numbers are refused before any work."""

import types

import numpy as np
import pytest
import torch
from tensors import example

from ttsnap.cli import main
from ttsnap.errors import BadInput
from ttsnap.pruning.budget import parse_budgets
from ttsnap.pruning.costs import Costs
from ttsnap.pruning.schedule import PUBLISHED, Schedule
from ttsnap.search import Batches, core, make_plan, plan, search, search_prompts
from ttsnap.search.folder import overspent
from ttsnap.search.seconds import at_once
from ttsnap.search.verifiers import Verifier
from ttsnap.storage.prompts import shards
from ttsnap.storage.tensor import write_tensor

STEPS = 20
SCHEDULES = {
    "best_of_n": Schedule(),
    "published": PUBLISHED,
    "late": Schedule((15,), (0.1,)),
    "none dropped": Schedule((3,), (1.0,)),
    "draft": Schedule(("few",), (0.3,)),
    "drafts and step": Schedule(("few", "more", 5), (0.6, 0.5, 0.4)),
}


class StubSampler:
    """Takes `call` seconds a call, `each` a candidate and `text` a prompt, on a simulated clock; images are noise."""

    device, steps, pusher, text_tokens, second_order = torch.device("cpu"), STEPS, None, 8, False

    def __init__(self, clock, call: float = 0.02, each: float = 0.01, text: float = 0.015):
        self.clock, self.call, self.each, self.text = clock, call, each, text

    def encode(self, prompt):
        self.clock.now += self.text
        return prompt

    def join(self, conditions):
        return list(conditions)

    def init(self, seeds):
        self.clock.now += 0.001 * len(seeds)
        return torch.tensor([[seed % 1000 / 1000] for seed in seeds])

    def step(self, s, latents, condition, previous=None):
        self.clock.now += self.call + self.each * len(latents)
        return latents, latents

    def decode(self, latents):
        self.clock.now += self.call + self.each * len(latents)
        return latents[:, :, None, None].expand(-1, 3, 8, 8)

    look = decode


class StubDrafter:
    """Two steps from the noise, with an encoding of each prompt of its own."""

    steps, tflop = 2, 2.2

    def __init__(self, sampler):
        self.sampler = sampler

    def latents(self, prompts, seeds, batches):
        for prompt in dict.fromkeys(prompts):
            self.sampler.encode(prompt)
        latents = self.sampler.init(seeds)
        for step in range(self.steps):
            batches(lambda part, step=step: self.sampler.step(step, latents[part], None), len(latents))
        return latents


class StubVerifier(Verifier):
    """Reads the brightness; a level takes time to load its weights."""

    def __init__(self, clock, name="bright", tflop=0.3, levels=()):
        self.clock, self.name, self.tflop = clock, name, tflop
        self.levels, self.used = frozenset(levels), None

    def read(self, images, prompts, step):
        level = step if step in self.levels else None
        self.clock.now += 0.05 * (level != self.used) + 0.003 + 0.002 * len(images)
        self.used = level
        return images.mean((1, 2, 3)).numpy()


@pytest.fixture
def clock(monkeypatch):
    clock = types.SimpleNamespace(now=0.0)
    timer = types.SimpleNamespace(perf_counter=lambda: clock.now, process_time=lambda: clock.now)
    monkeypatch.setattr(core, "time", timer)
    monkeypatch.setattr(plan, "sampler_cost", lambda sampler: {"denoise": 1.1, "decode": 0.7})
    return clock


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("prompts", [1, 5, 9])
@pytest.mark.parametrize(
    ("call", "each", "text"), [(0.02, 0.01, 0.015), (0.05, 0.0001, 0.015), (0.0001, 0.03, 0.015), (0.05, 0.0001, 0.15)]
)
def test_seconds_are_not_overspent(clock, schedule, prompts, call, each, text):
    """One prompt or several, whatever the overhead of a call; and the budget is not left unused."""
    sampler, texts = StubSampler(clock, call, each, text), [f"prompt {n}" for n in range(prompts)]
    verifiers = [StubVerifier(clock, levels=schedule.looks[:1])]
    drafters = {name: StubDrafter(sampler) for name in schedule.drafts}
    for budget in (0.3, 0.5, 1, 1.7, 2.5, 5, 12):
        batches = Batches.uniform(8)
        try:
            found = make_plan(sampler, verifiers, schedule, budget, "seconds", batches, None, prompts, drafters)
        except BadInput as error:
            assert "that one finished candidate costs" in str(error)
            groups = shards(texts, at_once(1, schedule, batches))
            single = [search_prompts(sampler, verifiers, schedule, group, range(1), drafters=drafters,
                                     batches=batches)
                      for group in groups]  # fmt: skip
            longest = max(results[0].seconds["total"] for results in single)
            assert longest > 0.8 * budget, "the budget is enough"
            continue
        size, spent = plan.prompts_at_once(found, batches), []
        for group in shards(texts, size):
            ids = range(found.candidates)
            spent += search_prompts(sampler, verifiers, schedule, group, ids, drafters=drafters, batches=batches)
        seconds = [result.seconds["total"] for result in spent]
        assert max(seconds) <= budget
        assert found.finishing >= 1 and overspent([result.seconds for result in spent], found) is None
        if found.candidates >= 20:
            assert max(seconds) >= 0.6 * budget


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("unit", ["tflop", "candidates"])
@pytest.mark.parametrize("several", [False, True])
def test_tflop_and_candidates_are_not_overspent(clock, schedule, unit, several):
    sampler = StubSampler(clock)
    verifiers = [StubVerifier(clock), StubVerifier(clock, "again", 0.1)][: 1 + several]
    drafters = {name: StubDrafter(sampler) for name in schedule.drafts}
    look = 0.7 + sum(verifier.tflop for verifier in verifiers)
    costs = Costs(1.1, look, STEPS, "whole", drafts={name: StubDrafter.tflop for name in drafters})
    scale = costs.best_of_n() if unit == "tflop" else 1.0
    for count in (2, 3, 6, 10, 7.3, *np.random.default_rng(0).uniform(2, 12, 8)):
        budget = float(count * scale)
        results = search(sampler, verifiers, schedule, ["a", "b"], budget, unit, drafters=drafters)
        for found, made in results:
            spent = made.spent(found.evaluations, found.readings, found.finals, found.drafts)["total"]
            assert spent == pytest.approx(made.spends)
            assert spent <= made.limit()
            more = float(costs.schedule(schedule)) * (made.candidates + 2)
            assert more > made.limit(), "two more candidates would fit"


@pytest.mark.parametrize("unit", ["tflop", "candidates", "seconds"])
@pytest.mark.parametrize(
    ("budget", "says"),
    [
        (1e12, "10000"),
        (1e300, "10000"),
        (0, "not a positive number"),
        (-1, "not a positive number"),
        (float("nan"), "not a positive number"),
        (float("inf"), "not a positive number"),
        (1e-9, "that one finished candidate costs"),
    ],
)
def test_an_impossible_budget_is_refused(clock, unit, budget, says):
    sampler, verifiers = StubSampler(clock), [StubVerifier(clock)]
    with pytest.raises(BadInput, match=says):
        next(search(sampler, verifiers, SCHEDULES["published"], "a", budget, unit))


def test_a_measurement_is_kept_for_a_rerun(clock):
    sampler, verifiers = StubSampler(clock), [StubVerifier(clock)]
    given = (verifiers, SCHEDULES["published"], 5.0, "seconds")
    first = make_plan(sampler, *given)
    slow = StubSampler(clock, call=1.0)
    assert make_plan(slow, *given, measured=first.measured).candidates == first.candidates
    with pytest.raises(BadInput):
        make_plan(slow, *given)


def test_overspending_is_noted(clock):
    sampler, verifiers = StubSampler(clock), [StubVerifier(clock)]
    made = make_plan(sampler, verifiers, Schedule(), 2.0, "seconds")
    note = overspent([{"total": 1.9}, {"total": 2.5}], made)
    assert note.startswith("1 of 2 prompts took longer than the budget of 2 s, up to 2.5 s")
    in_tflop = make_plan(sampler, verifiers, Schedule(), 100.0)
    assert overspent([{"total": 1e9}], in_tflop) is None


MODEL = ["--model", "embedded:shapes-sdxl"]
SEARCH = ["search", "p.txt", *MODEL, "--kind", "aesthetic", "--out", "o"]
GENERATE = ["generate", "p.txt", *MODEL, "--out", "o.h5"]


@pytest.mark.parametrize(
    "words",
    [
        [*SEARCH, "--budget", "1e12", "--budget-unit", "candidates"],
        *([*SEARCH, "--budget", budget] for budget in ("0", "-1", "nan", "inf")),
        [*SEARCH, "--budget", "2", "--limit", str(10**20)],
        [*SEARCH, "--budget", "2", "--steps", str(10**9)],
        [*SEARCH, "--budget", "2", "--height", str(10**9)],
        [*SEARCH, "--budget", "2", "--seed", str(10**30)],
        [*GENERATE, "--candidates", str(10**9)],
        [*GENERATE, "--candidates", "2", "--width", str(10**9)],
        [*GENERATE, "--candidates", "2", "--threads", str(10**12)],
        ["draw-shapes", "--out", "o", "--count", str(10**9)],
        ["noise-theory", "--out", "o", "--samples", str(10**12)],
        ["noise-theory", "--out", "o", "--channels", str(10**9)],
        ["noise-theory", "--out", "o", "--patch-size", str(10**6)],
        ["simulate", "t.h5", "--draws", str(10**12)],
        ["compare-search", "o", "--tensor", "t.h5", "--draws", str(10**12)],
        ["fit-schedule", "t.h5", "--evaluations", str(10**12)],
        ["fit-schedule", "t.h5", "--most-looks", str(10**12)],
        ["assign", "--data", "digits", "--model", "g", "--out", "o", "--start-index", str(10**30)],
        ["assign", "--data", "digits", "--model", "g", "--out", "o", "--limit", str(10**30)],
        ["train-gan", "--out", "o", "--epochs", str(10**12)],
        ["import-values", "--base", "o", "--out", "o.h5", "--num-steps", str(10**12)],
        ["simulate", "t.h5", "--budgets", "1:1e300:1e-300"],
        ["simulate", "t.h5", "--budgets", "1:inf:1"],
        ["simulate", "t.h5", "--budgets=-1,2"],
        ["simulate", "t.h5", "--budgets", "nan"],
        ["fit-schedule", "t.h5", "--budgets", "1e300"],
    ],
    ids=" ".join,
)
def test_impossible_numbers_are_refused_in_one_line(tmp_path, monkeypatch, capsys, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.txt").write_text("a cat\n")
    write_tensor("t.h5", example(10, 12))
    before = sorted(tmp_path.iterdir())
    status = main(words)
    lines = capsys.readouterr().err.splitlines()
    assert status == 2 and len(lines) == 1
    assert lines[0].startswith(f"ttsnap {words[0]}: ")
    assert sorted(tmp_path.iterdir()) == before


def test_many_budgets_are_counted_before_they_are_made():
    with pytest.raises(ValueError, match="is more than 100000 budgets"):
        parse_budgets("1:1e300:1e-300")


def test_a_budget_beyond_the_pool_is_noted_however_large(tmp_path, capsys):
    write_tensor(tmp_path / "t.h5", example(10, 12))
    words = ["--steps", "0,2", "--keep", "0.5,0.5", "--budgets", "6,16,1e300"]
    for accounting in ("exact", "whole"):
        assert main(["simulate", str(tmp_path / "t.h5"), *words, "--accounting", accounting]) == 0
        assert "1e+300 pay for more than the 12 candidates" in capsys.readouterr().err
