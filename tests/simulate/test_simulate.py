"""The simulator against brute-force enumeration, the stated figures, and broken settings."""

import itertools
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import simpson
from tensors import example

from ttsnap.errors import BadInput
from ttsnap.pruning.costs import Costs
from ttsnap.pruning.intervals import gain, simpson_weights
from ttsnap.pruning.ranks import ranks
from ttsnap.pruning.schedule import PUBLISHED, Schedule, survivors
from ttsnap.simulate import montecarlo
from ttsnap.simulate.methods import METHODS, base_looks, noise_aware_looks, oracle, ttsnap
from ttsnap.simulate.montecarlo import best_of_n, draw_candidates, simulate
from ttsnap.simulate.summary import summarise

SCHEDULE = Schedule((0, 2), (0.5, 0.5))


def chosen_by_hand(rewards, finals, drawn, keep):
    """The pruning rule of docs/method.md, written out. rewards [reward][look][candidate], finals [reward][…]."""

    def best_first(values, left):
        if len(values) == 1:
            return sorted(left, key=lambda c: (-values[0][c], c))
        places = [sorted(left, key=lambda c, v=v: (-v[c], c)) for v in values]
        return sorted(left, key=lambda c: (sum(p.index(c) for p in places), places[0].index(c)))

    left = list(drawn)
    for look, fraction in enumerate(keep):
        count = max(1, round(len(left) * fraction))
        left = best_first([reward[look] for reward in rewards], left)[:count]
    return best_first(finals, left)[0]


def looks_by_hand(tensor, name, steps, prompt):
    base, aware = tensor.base[prompt], tensor.noise_aware[prompt]
    if name == "ttsnap":
        return [aware[:, s] if not np.isnan(aware[0, s]) else base[:, s] for s in steps]
    return [base[:, s if name == "ttsp" else -1] for s in steps]


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("name", ["ttsp", "ttsnap", "oracle"])
@pytest.mark.parametrize("rewards", [1, 2])
def test_the_chosen_candidate_matches_brute_force(name, ties, rewards):
    tensors = [example(seed=seed, ties=ties) for seed in range(rewards)]
    schedule = Schedule((0, 2, 3), (0.7, 0.5, 0.6))
    choose = METHODS[name](tensors, schedule, None)
    for n in range(1, 7):
        sets = list(itertools.combinations(range(6), n))
        chosen = choose(np.tile(np.array(sets, np.int32), (3, 1, 1)), [n])[0]
        for prompt in range(3):
            looks = [looks_by_hand(t, name, schedule.looks, prompt) for t in tensors]
            finals = [t.base[prompt, :, -1] for t in tensors]
            for drawn, index in zip(sets, chosen[prompt], strict=True):
                assert index == chosen_by_hand(looks, finals, drawn, schedule.keep)


def test_the_order_of_the_draw_does_not_matter_and_counts_are_prefixes():
    tensor, rng = example(4, 20, ties=True), np.random.default_rng(1)
    choose = ttsnap([tensor], SCHEDULE)
    drawn = draw_candidates(rng, 4, 20, 30, 12)
    chosen = choose(drawn, [1, 5, 12])
    np.testing.assert_array_equal(chosen[0], drawn[:, :, 0])
    np.testing.assert_array_equal(chosen[1], choose(drawn[:, :, :5][:, :, ::-1], [5])[0])


@pytest.mark.parametrize("ties", [False, True])
def test_best_of_n_is_exact(ties):
    tensor = example(2, 6, ties=ties)
    means = best_of_n(tensor, np.array([0, 1, 3, 6, 7]))
    final, accepted = tensor.base[:, :, -1], tensor.accepted[:, :, -1]
    for column, n in ((1, 1), (2, 3), (3, 6)):
        for prompt in range(2):
            best = [max(drawn, key=lambda c, p=prompt: final[p, c]) for drawn in itertools.combinations(range(6), n)]
            assert means["clip"][column, prompt] == pytest.approx(final[prompt, best].mean())
            assert means["accepted"][column, prompt] == pytest.approx(accepted[prompt, best].mean())
    assert np.isnan(means["clip"][[0, 4]]).all()


@given(st.integers(1, 400), st.data())
def test_chances_of_best_of_n_follow_the_formula(pool, data):
    n = data.draw(st.integers(1, pool))
    chances = montecarlo._chance_of_rank(pool, n)
    exact = [math.comb(pool - 1 - r, n - 1) / math.comb(pool, n) for r in range(pool)]
    np.testing.assert_allclose(chances, exact, rtol=1e-9, atol=1e-300)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(-3, 3, width=32), min_size=1, max_size=30))
def test_ranks_match_a_stable_sort(values):
    scores = np.array([values], np.float32)
    order = np.argsort(-scores[0], kind="stable")
    assert ranks(scores)[0, order].tolist() == list(range(len(values)))


def test_draws_are_uniform_and_without_replacement():
    drawn = draw_candidates(np.random.default_rng(0), 50, 7, 200, 3)
    assert all(len(set(row)) == 3 for row in drawn.reshape(-1, 3).tolist())
    shares = np.bincount(drawn.ravel(), minlength=7) / drawn.size
    np.testing.assert_allclose(shares, 1 / 7, atol=0.01)


def test_monte_carlo_agrees_with_enumeration():
    tensor, costs = example(3, 6), Costs(1.0, 0.5, 5)
    budget = costs.schedule(SCHEDULE) * 4.5
    curve = simulate([tensor], np.array([budget, 30.0]), costs, SCHEDULE, draws=4000)["ttsnap"]
    assert curve.candidates[0] == 4
    sets = list(itertools.combinations(range(6), 4))
    for prompt in range(3):
        looks = [looks_by_hand(tensor, "ttsnap", SCHEDULE.looks, prompt)]
        final = tensor.base[prompt, :, -1]
        exact = np.mean([final[chosen_by_hand(looks, [final], s, SCHEDULE.keep)] for s in sets])
        assert curve.by_prompt["clip"][0, prompt] == pytest.approx(exact, abs=0.05)


@pytest.mark.parametrize("rewards", [1, 2])
def test_random_pruning_keeps_every_subset_with_the_same_chance(rewards):
    """Its mean equals that of the best of as many as survive, on a single prompt too."""
    tensors = [example(1, 6, seed=seed, name=f"r{seed}") for seed in range(rewards)]
    costs = Costs(1.0, 0.5, 5)
    budget = np.array([costs.schedule(SCHEDULE) * 5.5, 40.0])
    curves = simulate(tensors, budget, costs, SCHEDULE, draws=6000)
    count = survivors(5, SCHEDULE.keep)[-1]
    finals = [t.base[0, :, -1] for t in tensors]
    pairs = itertools.combinations(range(6), count)
    exact = np.mean([finals[0][chosen_by_hand([], finals, drawn, [])] for drawn in pairs])
    assert curves["random"].candidates[0] == 5 and 1 <= count < 5
    assert curves["random"].by_prompt["r0"][0, 0] == pytest.approx(exact, abs=0.05)


def test_a_method_that_cannot_read_a_step_is_left_out_and_says_so():
    tensor, budgets, costs = example(4, 12), np.array([8.0, 12.0, 16.0]), Costs(1.0, 0.5, 5)
    tensor.base[:, :, 2] = np.nan
    curves = simulate([tensor], budgets, costs, SCHEDULE)
    assert np.isnan(curves["ttsp"].by_prompt["clip"]).all()
    assert np.isfinite(curves["ttsnap"].by_prompt["clip"]).all()
    result = summarise(curves, budgets, costs, [tensor])
    assert result["gain"]["ttsp"]["value"] is None and result["gain"]["ttsnap"]["value"] is not None
    assert [note for note in result["notes"] if note.startswith("ttsp: step 2: the tensor has no")]
    tensor.noise_aware[:, :, 2] = np.nan
    with pytest.raises(BadInput, match="step 2"):
        simulate([tensor], budgets, costs, SCHEDULE)


def test_over_best_of_n_is_the_difference_of_the_two_curves():
    tensor, budgets, costs = example(8, 12, name="hpsv2"), np.array([8.0, 16.0]), Costs(1.0, 0.5, 5)
    curves = summarise(simulate([tensor], budgets, costs, SCHEDULE), budgets, costs, [tensor])["methods"]
    ttsnap_curve, bon = curves["ttsnap"], curves["best_of_n"]
    over = [ttsnap_curve[f"over_best_of_n{end}"] for end in ("_low", "", "_high")]
    np.testing.assert_allclose(over[1], np.subtract(ttsnap_curve["reward"], bon["reward"]))
    assert all(low <= value <= high for low, value, high in zip(*over, strict=True))
    assert bon["over_best_of_n"] == bon["over_best_of_n_high"] == [0, 0]
    over = [ttsnap_curve[f"accepted_over_best_of_n{end}"] for end in ("_low", "", "_high")]
    np.testing.assert_allclose(over[1], np.subtract(ttsnap_curve["accepted"], bon["accepted"]))
    assert all(low <= value <= high for low, value, high in zip(*over, strict=True))


def test_memory_is_bounded_by_blocks_of_draws(monkeypatch):
    """4 000 draws in blocks of 20 000 candidates take a fraction of the memory of one block, with the same means."""
    arguments = [example(10, 40)], np.array([20.0, 60.0]), Costs(1.0, 0.5, 5), SCHEDULE

    def measured(block: int):
        monkeypatch.setattr(montecarlo, "DRAWN_AT_ONCE", block)
        tracemalloc.start()
        curve = simulate(*arguments, draws=4000)["oracle"]
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak, curve

    (blocks, curve), (whole, other) = measured(20_000), measured(10**9)
    assert blocks < whole / 5
    for means in ("by_prompt", "by_draw"):
        difference = getattr(curve, means)["clip"].mean(1) - getattr(other, means)["clip"].mean(1)
        assert np.abs(difference).max() < 0.03


def test_costs_word_for_word():
    schedule = PUBLISHED
    exact, published = Costs(9.9, 1.2, 20), Costs(9.9, 1.2, 20, "published")
    by_hand = (3 * 9.9 + 1.2) + 0.4 * (4 * 9.9 + 1.2) + 0.16 * (5 * 9.9 + 1.2)
    by_hand += 0.08 * (8 * 9.9 + 1.2)
    assert exact.schedule(schedule) == pytest.approx(by_hand)
    assert published.schedule(schedule) == pytest.approx(by_hand - 9.9)
    assert exact.best_of_n() == exact.schedule(Schedule()) == pytest.approx(199.2)
    assert exact.within(2000) == 10 and exact.within(2000, schedule) == 32
    assert survivors(32, schedule.keep) == [13, 5, 2] and survivors(1, (0.1,)) == [1]
    spent = 32 * 30.9 + 13 * 40.8 + 5 * 50.7 + 2 * 80.4
    assert exact.spent(32, schedule) == pytest.approx(spent)


@settings(max_examples=50)
@given(st.sets(st.integers(0, 18), min_size=1, max_size=5), st.floats(20, 5000), st.floats(0.05, 1))
def test_whole_accounting_never_spends_more_than_the_budget(steps, budget, fraction):
    schedule = Schedule(tuple(sorted(steps)), (fraction,) * len(steps))
    costs = Costs(9.9, 1.2, 20, "whole")
    count = costs.within(budget, schedule)
    assert count == Costs(9.9, 1.2, 20, "realised").within(budget, schedule), "the former name"
    assert costs.spent(count, schedule) <= budget
    assert count <= Costs(9.9, 1.2, 20).within(budget, schedule)
    alive = [int(count), *survivors(int(count), schedule.keep)] if count else [0] * (1 + len(steps))
    stretches = np.diff([-1, *schedule.looks, 19]) * 9.9 + 1.2
    assert costs.spent(count, schedule) == pytest.approx(stretches @ alive)


@given(st.lists(st.floats(0.1, 9), min_size=1, max_size=12))
def test_simpson_matches_scipy(gaps):
    x = np.cumsum([0.0, *gaps])
    y = np.sin(x)
    assert simpson_weights(x) @ y == pytest.approx(simpson(y, x=x), rel=1e-6, abs=1e-6)


def test_gain_word_for_word():
    budgets, bon = np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 2.5])
    method = np.array([1.5, 2.5, 3.0])
    area, area_bon = simpson(method - 1.0, x=budgets), simpson(bon - 1.0, x=budgets)
    assert gain(method, bon, budgets) == pytest.approx((area - area_bon) / area_bon)
    assert np.isnan(gain(method, np.ones(3), budgets))


def test_oracle_equals_best_of_as_many_and_random_is_below():
    tensor, costs = example(40, 30, seed=2), Costs(1.0, 0.5, 5)
    curves = simulate([tensor], np.arange(8.0, 40, 4), costs, SCHEDULE, draws=200)
    exact = best_of_n(tensor, curves["oracle"].candidates)["clip"].mean(1)
    means = {name: curve.by_prompt["clip"].mean(1) for name, curve in curves.items()}
    np.testing.assert_allclose(means["oracle"], exact, atol=0.03)
    assert (means["random"] < means["ttsnap"] - 0.1)[2:].all()
    assert (means["ttsp"] < means["ttsnap"])[2:].all() and (means["ttsnap"] < exact).all()


def simulated(tensor, draws: int, seed: int = 0) -> np.ndarray:
    """float [5]: TTSnap's mean reward at a budget of 20 and the ends of its two intervals."""
    budgets, costs = np.array([20.0]), Costs(1.0, 0.5, 5)
    curves = simulate([tensor], budgets, costs, SCHEDULE, draws=draws, seed=seed)
    curve = summarise(curves, budgets, costs, [tensor], seed)["methods"]["ttsnap"]
    return np.array([curve[k][0] for k in ("reward", "low", "high", "low_draws", "high_draws")])


def check_intervals(truth: float, values: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
    """Nearly 95 % of the intervals hold the truth, and they are about as wide as the values scatter, 2·1.96·σ."""
    assert 0.87 <= np.mean((low <= truth) & (truth <= high)) <= 0.98
    assert 0.75 <= (high - low).mean() / (2 * 1.96 * values.std()) <= 1.15


def test_intervals_cover_the_choice_of_prompts_and_draws():
    """Over small tensors of a kind, against the mean of a large one."""
    truth = simulated(example(4000, 12, seed=999), draws=20)[0]
    values, low, high, *_ = np.array([simulated(example(30, 12, seed=s), 5) for s in range(120)]).T
    check_intervals(truth, values, low, high)


def test_intervals_of_draws_cover_what_other_seeds_give_on_the_same_prompts():
    tensor = example(30, 12)
    truth = simulated(tensor, draws=20_000)[0]
    values, low, high, *ends = np.array([simulated(tensor, 40, seed) for seed in range(80)]).T
    check_intervals(truth, values, *ends)
    assert (ends[1] - ends[0]).mean() < (high - low).mean() / 2


def test_a_custom_method_is_a_function():
    def first_drawn(tensors, schedule, rng):
        return lambda drawn, counts: np.repeat(drawn[None, :, :, 0], len(counts), axis=0)

    tensor, budgets, costs = example(), np.array([8.0, 12.0, 16.0]), Costs(1.0, 0.5, 5)
    curves = simulate([tensor], budgets, costs, SCHEDULE, methods={**METHODS, "first": first_drawn}, draws=500)
    mean = tensor.base[:, :, -1].mean()
    assert curves["first"].by_prompt["clip"].mean(1) == pytest.approx(mean, abs=0.05)
    assert summarise(curves, budgets, costs, [tensor])["gain"]["first"]["value"] < 0


def test_several_rewards_are_reported_each():
    tensors = [example(8, 12, seed=3), example(8, 12, seed=4, name="hpsv2")]
    budgets, costs = np.array([10.0, 20.0, 30.0]), Costs(1.0, 0.5, 5)
    result = summarise(simulate(tensors, budgets, costs, SCHEDULE), budgets, costs, tensors)
    by_reward = result["methods"]["best_of_n"]["by_reward"]
    assert by_reward["clip"]["value"] == result["methods"]["best_of_n"]["reward"]
    assert set(result["gain"]["ttsnap"]["by_reward"]) == {"clip", "hpsv2"}
    with pytest.raises(BadInput, match="same reward name"):
        simulate([tensors[0], tensors[0]], budgets, costs, SCHEDULE)
    with pytest.raises(BadInput, match="not of the same prompts"):
        simulate([tensors[0], example(7, 12, name="b")], budgets, costs, SCHEDULE)


def test_looks_fall_back_to_base_and_refuse_steps_without_values():
    tensor = example()
    tensor.base[:, :, 3] = np.nan
    looks = noise_aware_looks(tensor, [1, 2])
    np.testing.assert_array_equal(looks, tensor.noise_aware[:, :, 1:3])
    with pytest.raises(BadInput, match="step 3: .* steps 0, 1, 2"):
        noise_aware_looks(tensor, [0, 3])
    with pytest.raises(BadInput, match="step 3"):
        base_looks(tensor, [3])
    assert oracle([tensor], Schedule((3,), (0.5,)))(np.zeros((3, 1, 1), int), [1]).shape == (1, 3, 1)


def spoils_rewards(tensors, schedule, rng):
    tensors[0].base[:] = 0
    return METHODS["ttsp"](tensors, schedule, rng)


def spoils_when_choosing(tensors, schedule, rng):
    def choose(drawn, counts):
        tensors[0].accepted[:] = 0

    return choose


@pytest.mark.parametrize("method", [spoils_rewards, spoils_when_choosing])
def test_a_method_cannot_change_what_the_next_one_sees(method):
    tensor, budgets, costs = example(), np.array([8.0, 12.0]), Costs(1.0, 0.5, 5)
    before = tensor.base.copy(), tensor.accepted.copy()
    with pytest.raises(BadInput, match=f"{method.__name__}: changes the tensors.*work on copies"):
        simulate([tensor], budgets, costs, SCHEDULE, methods={"mine": method, **METHODS})
    np.testing.assert_array_equal(tensor.base, before[0])
    np.testing.assert_array_equal(tensor.accepted, before[1])
    tensor.base[0, 0, 0] = 1  # the caller's tensor stays writable
