"""Budgets as typed, and in TFLOP."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttsnap.pruning.budget import in_tflop, parse_budgets
from ttsnap.pruning.costs import Costs
from ttsnap.pruning.schedule import BEST_OF_N


@given(
    st.integers(1, 10_000), st.floats(1e-6, 1e3), st.floats(0, 1e3), st.sampled_from(["exact", "published", "whole"])
)
def test_n_candidates_of_best_of_n_fit_a_budget_of_n(count, denoise, look, accounting):
    costs = Costs(denoise, look, 20, accounting)
    budget = in_tflop(float(count), "candidates", costs)
    assert costs.within(budget, BEST_OF_N) == count
    assert budget == pytest.approx(count * costs.best_of_n(), rel=1e-15)
    many = in_tflop(np.arange(1.0, count + 1), "candidates", costs)
    assert costs.within(many).tolist() == list(range(1, count + 1))
    assert in_tflop(count, "tflop", costs) == count


@pytest.mark.parametrize(
    ("text", "budgets"),
    [
        ("400", [400]),
        ("1,2.5,1e2", [1, 2.5, 100]),
        ("2:8:2", [2, 4, 6, 8]),
        ("2:9:2", [2, 4, 6, 8]),
        ("0.1:0.3:0.1", [0.1, 0.2, 0.3]),
        ("5:5:1", [5]),
    ],
)
def test_budgets_are_a_list_or_a_range_with_its_end(text, budgets):
    np.testing.assert_allclose(parse_budgets(text), budgets)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "must be positive and rising"),
        ("0,1", "must be positive and rising"),
        ("2,1", "must be positive and rising"),
        ("9:2:1", "must be positive and rising"),
        ("1:-1e308:1e-300", "must be positive and rising"),
        ("1,,2", "not a list of numbers"),
        ("a", "not a list of numbers"),
        ("1:b:2", "not a list of numbers"),
        ("1,inf", "not finite"),
        ("1:nan:1", "not finite"),
        ("1:2", "neither first:last:step nor a,b,c"),
        ("1:2:0", "with a positive step"),
        ("1:1e300:1e-300", "is more than 100000 budgets"),
    ],
)
def test_other_text_is_refused(text, says):
    with pytest.raises(ValueError, match=says):
        parse_budgets(text)
