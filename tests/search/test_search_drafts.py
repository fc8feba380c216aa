"""Real searches with drafts on tiny random models: the simulator's picks, and what they spend, call by call."""

import numpy as np
import pytest
import tiny
import torch
from drafting import FAMILIES, save_lora
from searching import PROMPTS, SIZE, STEPS

from ttsnap.errors import BadInput, TtsnapError
from ttsnap.models.flop import count_flop
from ttsnap.pruning.costs import Costs
from ttsnap.pruning.schedule import Schedule
from ttsnap.samplers import candidate_seed, load_sampler, run
from ttsnap.samplers.drafts import open_drafts
from ttsnap.search import Batches, FunctionVerifier, make_plan, search, search_prompts
from ttsnap.settings.drafts import Draft
from ttsnap.simulate.methods import METHODS
from ttsnap.storage.tensor import RewardTensor

GUIDANCE, DRAFTS = 3.0, ("few", "onestep")
SCHEDULE = Schedule(("few", 2), (0.6, 0.5))
BOTH = Schedule(("few", "onestep", 2), (0.8, 0.7, 0.5))


@pytest.fixture(scope="module", params=[("sdxl", False), ("flux", False), ("sdxl", True), ("flux", True)],
                ids=["sdxl", "flux", "sdxl-taesd", "flux-taesd"])  # fmt: skip
def model(request, tmp_path_factory):
    """(sampler, drafters): "few" of fewer steps, "onestep" by a LoRA and without guidance."""
    (family, small), folder = request.param, tmp_path_factory.mktemp("models")
    tiny.taesd().save_pretrained(folder / "taesd")
    decoder = folder / "taesd" if small else None
    path = tiny.save(FAMILIES[family](), folder / "model")
    sampler = load_sampler(path, steps=STEPS, guidance=GUIDANCE, look_decoder=decoder, **SIZE)
    lora = str(save_lora(family, folder / "lora"))
    drafts = {"few": Draft(steps=2), "onestep": Draft(steps=1, guidance=0.0, lora=lora)}
    return sampler, open_drafts(sampler, drafts, None)


def red(images, prompt):
    return images[:, 0].mean((1, 2)) * 100 + len(prompt)


def early(images, prompt):
    return images[:, 2].amax((1, 2)).tolist()


def flat(images, prompt):
    return -images.std((1, 2, 3)).numpy() * 100


def verifiers(several: bool = False) -> list[FunctionVerifier]:
    first = FunctionVerifier("red", red, {"few": early, 2: early}, tflop=1e-6)
    return [first, FunctionVerifier("flat", flat, tflop=2e-6)] if several else [first]


def tensors(model, candidates: range, several: bool) -> list[RewardTensor]:
    """The rewards of every candidate at every draft and step, as generate and score would give them."""
    (sampler, drafters), readers, looks = model, verifiers(several), [*DRAFTS, *range(STEPS)]
    base = np.full((len(readers), len(PROMPTS), len(candidates), len(looks)), np.nan)
    aware = np.full_like(base, np.nan)

    def read(p: int, at, latents) -> None:
        images = ((sampler.decode if at == STEPS - 1 else sampler.look)(latents) * 255).round() / 255
        for r, reader in enumerate(readers):
            for values, level in ((base, None), (aware, at)):
                if level is None or at in reader.levels:
                    values[r, p, :, looks.index(at)] = reader.read(images, [PROMPTS[p]] * len(images), level)

    with torch.inference_mode():
        for p, prompt in enumerate(PROMPTS):
            seeds = [candidate_seed(3, prompt, c) for c in candidates]
            for name in DRAFTS:
                read(p, name, drafters[name].latents([prompt] * len(seeds), seeds))
            run(sampler, prompt, seeds, lambda step, ids, denoised, p=p: read(p, step, denoised))
    about = [{"attrs": {"reward": reader.name}, "drafts": list(DRAFTS)} for reader in readers]
    return [RewardTensor(base[r], aware[r], prompts=PROMPTS, **about[r]) for r in range(len(readers))]


@pytest.mark.parametrize("several", [False, True], ids=["one", "several"])
@pytest.mark.parametrize("schedule", [SCHEDULE, BOTH], ids=["few", "both"])
def test_the_pick_is_the_simulators(model, schedule, several):
    candidates = range(4, 15)
    sampler, drafters = model
    found = search_prompts(sampler, verifiers(several), schedule, PROMPTS, candidates, drafters=drafters, seed=3)
    choose = METHODS["ttsnap"](tensors(model, candidates, several), schedule, None)
    drawn = np.tile(np.arange(len(candidates), dtype=np.int32), (len(PROMPTS), 1, 1))
    expected = choose(drawn, [len(candidates)])[0, :, 0]
    assert [result.pick - candidates[0] for result in found] == expected.tolist()
    for result in found:
        assert [look.at for look in result.looks] == [*schedule.looks, STEPS - 1]
        assert [look.noise_aware["red"] for look in result.looks] == [look in ("few", 2) for look in
                                                                     (*schedule.looks, None)]  # fmt: skip
        for look, following in zip(result.looks, result.looks[1:], strict=False):
            assert look.kept == following.ids


class Calls:
    """Counts the rows that the denoiser, the VAE and the look decoder really get."""

    def __init__(self, sampler):
        self.denoised = self.final = self.small = 0
        self.hooks = [
            sampler.denoiser.register_forward_pre_hook(self._denoised, with_kwargs=True),
            sampler.vae.decoder.register_forward_pre_hook(self._final),
        ]
        if sampler.look_decoder is not None:
            self.hooks.append(sampler.look_decoder.decoder.register_forward_pre_hook(self._small))

    def _denoised(self, module, args, kwargs):
        self.denoised += len(args[0] if args else kwargs["hidden_states"])

    def _final(self, module, args):
        self.final += len(args[0])

    def _small(self, module, args):
        self.small += len(args[0])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for hook in self.hooks:
            hook.remove()


def random_schedule(rng) -> Schedule:
    """Any drafts in any order, then any steps."""
    drafts = rng.permutation(DRAFTS)[: rng.integers(0, 3)].tolist()
    steps = np.sort(rng.choice(STEPS - 1, rng.integers(0, 3), replace=False)).tolist()
    looks = (*drafts, *steps)
    return Schedule(looks, tuple(rng.uniform(0.3, 1, len(looks)).round(2).tolist()))


@pytest.mark.parametrize("seed", range(8))
def test_what_is_spent_is_what_was_called_and_never_over_the_budget(model, seed):
    (sampler, drafters), rng, readers = model, np.random.default_rng(seed), verifiers()
    schedule = random_schedule(rng)
    one = make_plan(sampler, readers, schedule, 4, "candidates", drafters=drafters)
    budget = rng.uniform(2.2, 6) * one.costs.best_of_n()
    ((found, plan),) = search(sampler, readers, schedule, PROMPTS[seed % 3], budget, drafters=drafters, batch_size=3)
    batches = Batches.uniform(3)
    with Calls(sampler) as calls:
        (again,) = search_prompts(sampler, readers, schedule, [PROMPTS[0]], range(plan.candidates), drafters=drafters,
                                  batches=batches)  # fmt: skip
    halves = {"sdxl": 2, "flux": 1}[sampler.family]
    made = again.drafts.get("few", 0) * 2 * halves + again.drafts.get("onestep", 0)
    assert calls.denoised == again.evaluations * halves + made
    small = sampler.look_decoder is not None
    assert (calls.final, calls.small) == ((again.finals, again.readings - again.finals) if small
                                          else (again.readings, 0))  # fmt: skip
    counted = {"evaluations": again.evaluations, "readings": again.readings, "finals": again.finals}
    spent = plan.spent(**counted, drafts=again.drafts)
    assert counted == {key: getattr(found, key) for key in counted} and again.drafts == found.drafts
    assert spent["total"] == pytest.approx(float(plan.costs.spent(plan.candidates, schedule)), rel=1e-12)
    assert spent["total"] == pytest.approx(sum(v for k, v in spent.items() if k != "total"), rel=1e-12)
    assert spent["total"] <= budget == plan.limit()
    assert ("draft" in spent) == bool(schedule.drafts)


def test_flop_spent_are_those_that_torch_counts(model):
    sampler, drafters = model
    reader = FunctionVerifier("red", red, tflop=0)
    plan = make_plan(sampler, [reader], BOTH, 5, "candidates", drafters=drafters)
    found = []

    def whole():
        found.extend(search_prompts(sampler, [reader], BOTH, PROMPTS[:1], range(7), drafters=drafters))

    counted = count_flop(whole)
    text = count_flop(sampler.encode, PROMPTS[0]) + sum(count_flop(drafters[n].sampler.encode, PROMPTS[0])
                                                        for n in BOTH.drafts)  # fmt: skip
    (result,) = found
    spent = plan.spent(result.evaluations, result.readings, result.finals, result.drafts)
    assert spent["total"] * 1e12 == pytest.approx(counted - text, rel=1e-9)


def test_one_candidate_of_one_prompt(model):
    sampler, drafters = model
    (found,) = search_prompts(sampler, verifiers(), BOTH, PROMPTS[:1], [6], drafters=drafters)
    assert found.pick == 6 and found.drafts == {"few": 1, "onestep": 1}
    assert (found.evaluations, found.readings, found.finals) == (STEPS, 4, 1)
    (plain,) = search_prompts(sampler, verifiers(), Schedule(), PROMPTS[:1], [6])
    np.testing.assert_array_equal(found.image, plain.image)


def test_a_draft_does_not_change_the_full_runs_of_the_survivors(model):
    sampler, drafters = model
    everyone = search_prompts(sampler, verifiers(), Schedule(), PROMPTS[:1], range(9))[0].looks[-1]
    found = search_prompts(sampler, verifiers(), BOTH, PROMPTS[:1], range(9), drafters=drafters)[0].looks[-1]
    rows = [everyone.ids.index(c) for c in found.ids]
    np.testing.assert_allclose(found.rewards["red"], everyone.rewards["red"][rows], atol=1e-4)


def test_a_noise_aware_score_is_used_at_its_draft_alone(model):
    sampler, drafters = model
    reader = FunctionVerifier("red", red, {"onestep": early}, tflop=0)
    (found,) = search_prompts(sampler, [reader], BOTH, PROMPTS[:1], range(6), drafters=drafters)
    few, onestep, step, final = found.looks
    assert [look.noise_aware["red"] for look in found.looks] == [False, True, False, False]
    seeds = [candidate_seed(0, PROMPTS[0], c) for c in onestep.ids]
    with torch.inference_mode():
        images = sampler.look(drafters["onestep"].latents([PROMPTS[0]] * len(seeds), seeds))
    expected = early((images * 255).round() / 255, PROMPTS[0])
    np.testing.assert_allclose(onestep.rewards["red"], expected, atol=1 / 255 + 1e-6)
    assert few.rewards["red"].min() > 10 > onestep.rewards["red"].max()


def test_a_budget_in_seconds_counts_drafts(model):
    sampler, drafters = model
    plan = make_plan(sampler, verifiers(), BOTH, 60, "seconds", drafters=drafters)
    assert plan.limit() is None and {"draft few", "draft onestep"} <= set(plan.measured)
    assert plan.candidates == plan.measured["candidates"] > 1
    again = make_plan(sampler, verifiers(), BOTH, 60, "seconds", measured=plan.measured, drafters=drafters)
    assert again.candidates == plan.candidates
    slow = plan.measured | {"draft few": {size: 1e3 for size in plan.measured["draft few"]}}
    del slow["candidates"], slow["best_of_n"]
    with pytest.raises(BadInput, match="one finished candidate costs"):
        make_plan(sampler, verifiers(), BOTH, 60, "seconds", measured=slow | {"candidates": 0, "best_of_n": 9},
                  drafters=drafters)  # fmt: skip


REFUSED = [
    (Schedule(("none", 2), (0.5, 0.5)), "'none' is neither a step nor a draft; there are few, onestep"),
    (Schedule((2, "few"), (0.5, 0.5)), "step 2 stands before a draft"),
    (Schedule(("few", "few"), (0.5, 0.5)), "looks at draft few twice"),
    (Schedule(("few", 2), (0.5,)), "2 looks but 1 keep"),
]


@pytest.mark.parametrize(("schedule", "says"), REFUSED)
def test_bad_schedules_are_refused(model, schedule, says):
    sampler, drafters = model
    with pytest.raises(BadInput, match=says) as caught:
        make_plan(sampler, verifiers(), schedule, 9, "candidates", drafters=drafters)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("family", ["sdxl", "flux"])
def test_a_draft_of_nan_names_draft_and_prompt(family, tmp_path):
    folder = tiny.save(FAMILIES[family](), tmp_path / "model")
    sampler = load_sampler(folder, steps=STEPS, guidance=GUIDANCE, **SIZE)

    def load(path, draft):
        return load_sampler(path, steps=draft.steps, guidance=GUIDANCE, **SIZE)

    drafters = open_drafts(sampler, {"broken": Draft(steps=1, model=folder)}, load)
    with torch.no_grad():
        next(drafters["broken"].sampler.denoiser.parameters()).fill_(float("nan"))
    with pytest.raises(TtsnapError, match="^draft broken: .* no numbers for prompt 'two cats'") as caught:
        search_prompts(sampler, verifiers(), Schedule(("broken",), (0.5,)), PROMPTS[1:2], range(3), drafters=drafters)
    assert "\n" not in str(caught.value)


def test_a_budget_of_best_of_n_is_that_without_drafts(model):
    sampler, drafters = model
    plan = make_plan(sampler, verifiers(), BOTH, 4, "candidates", drafters=drafters)
    costs = Costs(plan.costs.denoise, plan.costs.look, STEPS, "whole", plan.costs.final)
    assert plan.limit() == pytest.approx(4 * costs.best_of_n()) and plan.best_of_n == 4
