"""Real searches on tiny random models of both families, against best-of-N and the simulator."""

import numpy as np
import pytest
import tiny
import torch
from searching import CLIP, PROMPTS, SIZE, STEPS, level_files

from ttsnap.errors import BadInput, TtsnapError
from ttsnap.pruning.costs import Costs
from ttsnap.pruning.schedule import Schedule
from ttsnap.rewards.base import load_reward, reward_tflop
from ttsnap.rewards.levels import LevelWeights, load_level
from ttsnap.samplers import MicroBatches, candidate_seed, load_sampler, run
from ttsnap.search import Batches, FunctionVerifier, make_plan, search, search_pipeline, search_prompts
from ttsnap.simulate.methods import METHODS
from ttsnap.storage.tensor import RewardTensor

SCHEDULE = Schedule((0, 2), (0.6, 0.5))


@pytest.fixture(scope="module", params=[tiny.sdxl, tiny.flux], ids=["sdxl", "flux"])
def sampler(request, tmp_path_factory):
    folder = tiny.save(request.param(), tmp_path_factory.mktemp("models"))
    return load_sampler(folder, steps=STEPS, guidance=3.0, **SIZE)


def red(images, prompt):
    return images[:, 0].mean((1, 2)) * 100 + len(prompt)


def flat(images, prompt):
    return -images.std((1, 2, 3)).numpy() * 100


def early(images, prompt):
    return images[:, 2].amax((1, 2)).tolist()


def verifiers(several: bool = False) -> list[FunctionVerifier]:
    first = FunctionVerifier("red", red, {2: early}, tflop=1e-6)
    return [first, FunctionVerifier("flat", flat, tflop=2e-6)] if several else [first]


def tensors(sampler, candidates: range, several: bool = False) -> list[RewardTensor]:
    """The rewards of every candidate at every step, as generate and score would give them."""
    readers = verifiers(several)
    base = np.full((len(readers), len(PROMPTS), len(candidates), STEPS), np.nan)
    aware = np.full_like(base, np.nan)
    for p, prompt in enumerate(PROMPTS):

        def look(step, ids, denoised, p=p, prompt=prompt):
            images = (sampler.decode(denoised) * 255).round() / 255
            for r, reader in enumerate(readers):
                base[r, p, :, step] = reader.read(images, [prompt] * len(ids), None)
                if step in reader.levels:
                    aware[r, p, :, step] = reader.read(images, [prompt] * len(ids), step)

        run(sampler, prompt, [candidate_seed(3, prompt, c) for c in candidates], look)
    return [
        RewardTensor(base[r], aware[r], prompts=PROMPTS, attrs={"reward": reader.name})
        for r, reader in enumerate(readers)
    ]


@pytest.mark.parametrize("several", [False, True], ids=["one", "several"])
def test_the_pick_is_the_simulators(sampler, several):
    candidates = range(4, 15)
    found = search_prompts(sampler, verifiers(several), SCHEDULE, PROMPTS, candidates, seed=3)
    choose = METHODS["ttsnap"](tensors(sampler, candidates, several), SCHEDULE, None)
    drawn = np.tile(np.arange(len(candidates), dtype=np.int32), (len(PROMPTS), 1, 1))
    expected = choose(drawn, [len(candidates)])[0, :, 0]
    assert [result.pick - candidates[0] for result in found] == expected.tolist()
    for result in found:
        assert [len(look.ids) for look in result.looks] == [11, 7, 4]
        assert [look.noise_aware["red"] for look in result.looks] == [False, True, False]
        for look, following in zip(result.looks, result.looks[1:], strict=False):
            assert look.kept == following.ids
            assert sorted(look.rank[[look.ids.index(c) for c in look.kept]]) == list(range(len(look.kept)))


def test_dropping_does_not_change_the_survivors(sampler):
    ids = range(9)
    everyone = search_prompts(sampler, verifiers(), Schedule(), PROMPTS[:1], ids)[0].looks[-1]
    found = search_prompts(sampler, verifiers(), SCHEDULE, PROMPTS[:1], ids)[0]
    survivors = found.looks[-1]
    rows = [everyone.ids.index(c) for c in survivors.ids]
    np.testing.assert_array_equal(survivors.previews, everyone.previews[rows])
    np.testing.assert_allclose(survivors.rewards["red"], everyone.rewards["red"][rows], atol=1e-4)


def test_neither_batch_size_nor_other_prompts_change_a_search(sampler):
    together = search_prompts(sampler, verifiers(True), SCHEDULE, PROMPTS, range(7))
    for size in (1, 3, 100):
        for prompt, expected in zip(PROMPTS, together, strict=True):
            batches = Batches.uniform(size)
            (alone,) = search_prompts(sampler, verifiers(True), SCHEDULE, [prompt], range(7), batches=batches)
            assert alone.pick == expected.pick
            np.testing.assert_array_equal(alone.image, expected.image)
            for a, b in zip(alone.looks, expected.looks, strict=True):
                assert (a.ids, a.kept) == (b.ids, b.kept)
                np.testing.assert_allclose(a.rewards["red"], b.rewards["red"], atol=1e-4)


@pytest.mark.parametrize("several", [False, True], ids=["one", "several"])
def test_flop_spent_is_as_counted_and_never_over_the_budget(sampler, several):
    readers = verifiers(several)
    single = make_plan(sampler, readers, Schedule(), 1, "candidates")
    costs = Costs(single.costs.denoise, single.costs.look, STEPS, "whole")
    assert single.costs.look == pytest.approx(single.decode + (3e-6 if several else 1e-6))
    for schedule in (Schedule(), SCHEDULE, Schedule((1,), (0.5,)), Schedule((0, 1, 3), (0.9,) * 3)):
        for budget in np.random.default_rng(0).uniform(1.7, 6, 2) * costs.best_of_n():
            plan = make_plan(sampler, readers, schedule, budget)
            ((found, _),) = search(sampler, readers, schedule, PROMPTS[0], budget)
            spent = plan.spent(found.evaluations, found.readings)
            assert spent["total"] <= budget
            assert spent["total"] == pytest.approx(costs.spent(plan.candidates, schedule))
            assert sum(spent[k] for k in ("denoise", "decode", "reward")) == pytest.approx(spent["total"])
            assert plan.candidates == costs.within(budget, schedule)


def test_a_function_costs_what_the_costliest_of_its_variants_does():
    weights = torch.ones(3 * 4 * 4, 5)

    def plain(images, prompt):
        return images.flatten(1).sum(1)

    def heavy(images, prompt):
        return (images.flatten(1) @ weights).sum(1)

    for noise_aware, flop in (({}, 0), ({1: heavy, 2: plain}, 2 * 48 * 5)):
        verifier = FunctionVerifier("f", plain, noise_aware, size=(4, 4))
        assert verifier.tflop * 1e12 == pytest.approx(flop)


def test_a_budget_in_candidates_is_that_of_best_of_n(sampler):
    plan = make_plan(sampler, verifiers(), Schedule(), 4, "candidates")
    assert plan.candidates == 4
    assert plan.spent(4 * STEPS, 4)["total"] <= plan.limit()
    assert make_plan(sampler, verifiers(), SCHEDULE, 4, "candidates").candidates > 4


def test_a_budget_in_seconds_is_measured_and_converted(sampler):
    plan = make_plan(sampler, verifiers(), Schedule(), 30, "seconds")
    assert plan.limit() is None and set(plan.measured["denoise"]) == {"1", "4", "8"}
    assert plan.candidates == plan.measured["candidates"] > 8
    again = make_plan(sampler, verifiers(), Schedule(), 30, "seconds", measured=plan.measured)
    assert again.candidates == plan.candidates
    with pytest.raises(BadInput, match="one finished candidate costs"):
        make_plan(sampler, verifiers(), SCHEDULE, 1e-9, "seconds")


@pytest.mark.parametrize(
    ("schedule", "budget", "says"),
    [
        (Schedule(), 0.5, "0.5 candidates per prompt is under the 1 candidates"),
        (SCHEDULE, 1.0, "is under the 1."),
        (SCHEDULE, -1, "not a positive number"),
        (SCHEDULE, float("nan"), "not a positive number"),
        (Schedule((2, 0), (0.5, 0.5)), 9, "ascending"),
        (Schedule((STEPS - 1,), (0.5,)), 9, "step 4 is outside 0..3"),
        (Schedule((1,), ()), 9, "1 looks but 0 keep"),
    ],
)
def test_bad_plans_are_refused(sampler, schedule, budget, says):
    with pytest.raises(BadInput, match=says) as caught:
        make_plan(sampler, verifiers(), schedule, budget, "candidates")
    assert "\n" not in str(caught.value)


def test_a_reward_of_nan_names_prompt_candidate_and_step(sampler):
    bad = FunctionVerifier("bad", lambda images, prompt: images.sum((1, 2, 3)) * np.nan, tflop=0)
    with pytest.raises(TtsnapError, match="bad gave nan for prompt 'two cats', candidate 5, step 0"):
        search_prompts(sampler, [bad], SCHEDULE, PROMPTS[1:2], range(5, 8))
    short = FunctionVerifier("short", lambda images, prompt: [1.0], tflop=0)
    with pytest.raises(BadInput, match="short: gave 1 values for 3 images"):
        search_prompts(sampler, [short], SCHEDULE, PROMPTS[1:2], range(3))


def test_micro_batches_halve_when_memory_runs_out():
    batches, sizes = MicroBatches(8), []

    def function(part: slice):
        sizes.append(part.stop - part.start)
        if sizes[-1] > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return list(range(10))[part]

    assert sum(batches(function, 10), []) == list(range(10))
    assert sizes == [8, 4, 2, 2, 2, 2, 2] and batches.size == 2
    with pytest.raises(TtsnapError, match="one candidate at a time"):
        MicroBatches(4)(lambda part: function(slice(0, 9)), 4)


def test_a_search_with_an_open_pipeline():
    pipe = tiny.sdxl()
    options = {"num_inference_steps": STEPS, "guidance_scale": 3.0, **SIZE}
    found = search_pipeline(pipe, red, PROMPTS, looks=(0, 2), keep=(0.6, 0.5), budget=4, **options)
    best_of_n = search_pipeline(pipe, red, PROMPTS[0], budget=4, **options)
    assert [result.prompt for result in found] == PROMPTS
    assert found[0].image.shape == (32, 32, 3) and found[0].image.dtype == np.uint8
    assert len(best_of_n[0].looks) == 1 and best_of_n[0].evaluations == 4 * STEPS
    assert red(torch.from_numpy(found[1].image).permute(2, 0, 1)[None] / 255, PROMPTS[1]).item() == (
        pytest.approx(found[1].rewards["score"], rel=1e-5)
    )
    several = search_pipeline(pipe, {"a": red, "b": flat}, PROMPTS[0], budget=2, **options)
    assert set(several[0].rewards) == {"a", "b"}
    with pytest.raises(BadInput, match="this is a str; expected StableDiffusionXLPipeline"):
        search_pipeline("sdxl", red, PROMPTS, budget=2)
    look = {"looks": (0,), "keep": (1.0,), "budget": 2}
    with pytest.raises(BadInput, match=r"noise_aware: step 3 is not one of the looks \[0\]"):
        search_pipeline(pipe, red, PROMPTS, noise_aware={3: red}, **look)
    with pytest.raises(BadInput, match="noise_aware: goes with one score"):
        search_pipeline(pipe, {"a": red, "b": flat}, PROMPTS, noise_aware={0: red}, **look)
    aware = search_pipeline(pipe, red, PROMPTS[0], noise_aware={0: flat}, **look, **options)
    assert [look.noise_aware["score"] for look in aware[0].looks] == [True, False]


@pytest.mark.parametrize("lora", [None, {"rank": 2, "alpha": 4}], ids=["full", "lora"])
def test_levels_are_swapped_not_reloaded(tmp_path, lora):
    images = torch.rand(2, 3, 64, 64)
    files = level_files(tmp_path, lora)
    expected = {None: load_reward("pickscore", path=CLIP)(images, ["a", "b"])}
    cost = reward_tflop(load_reward("pickscore", path=CLIP))
    for level, path in files.items():
        reward = load_reward("pickscore", path=CLIP)
        load_level(reward, path)
        expected[level] = reward(images, ["a", "b"])
    held = LevelWeights(load_reward("pickscore", path=CLIP), files)
    for path in files.values():
        path.unlink()
    for level in (3, None, 1, 3, 1, None):
        with torch.inference_mode():
            held.use(level)
            torch.testing.assert_close(held.reward(images, ["a", "b"]), expected[level])
        assert reward_tflop(held.reward) == cost  # as simulations and budgets count it
    assert not torch.allclose(expected[1], expected[3])


def in_place(images, prompt):
    """Redness, by a function that overwrites its input and returns the same memory every time."""
    values = red(images, prompt)
    images.zero_()
    in_place.kept = getattr(in_place, "kept", torch.zeros(64))
    in_place.kept[: len(values)] = values
    return in_place.kept[: len(values)]


def test_a_score_that_works_in_place_changes_nothing_for_others(sampler):
    """Neither another score's values nor the image, nor its own earlier values."""
    schedule, results = Schedule((2,), (0.5,)), []
    for function in (red, in_place):
        readers = [FunctionVerifier(n, f, size=(32, 32)) for n, f in (("a", function), ("b", red))]
        results.append(search_prompts(sampler, readers, schedule, PROMPTS, range(4)))
    for expected, found in zip(*results, strict=True):
        np.testing.assert_array_equal(found.image, expected.image)
        for look, clean in zip(found.looks, expected.looks, strict=True):
            np.testing.assert_array_equal(look.previews, clean.previews)
            for name in ("a", "b"):
                np.testing.assert_array_equal(look.rewards[name], clean.rewards[name])
