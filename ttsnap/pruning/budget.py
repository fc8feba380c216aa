"""What may be spent on a prompt, in TFLOP or in candidates of best-of-N."""

import math
from typing import Literal, TypeVar, get_args

import numpy as np

from ttsnap.pruning.costs import Costs

Unit = Literal["tflop", "candidates"]
SearchUnit = Literal["tflop", "seconds", "candidates"]  # of a real search
BUDGET_UNITS = get_args(SearchUnit)
LONGEST = 100_000  # list of budgets
Budget = TypeVar("Budget", float, np.ndarray)


def in_tflop(budgets: Budget, unit: str, costs: Costs) -> Budget:
    """Budgets in the unit of `costs`. Candidates are rounded up, so that n of best-of-N always fit a budget of n."""
    if unit == "candidates":
        return np.nextafter(budgets * costs.best_of_n(), np.inf)
    return budgets


def parse_budgets(text: str) -> np.ndarray:
    """`first:last:step`, last included, or `a,b,c`: float, positive and rising. Raises ValueError for another text."""
    ends = text.split(":")
    if len(ends) == 1:
        parts = text.split(",") if text.strip() else []
        budgets = np.array([_number(part, text) for part in parts])
    elif len(ends) == 3:
        first, last, step = (_number(part, text) for part in ends)
        if not step > 0:
            raise ValueError(f"{text!r} is not first:last:step with a positive step")
        steps = (last - first) / step
        if not steps < LONGEST:
            raise ValueError(f"{text!r} is more than {LONGEST} budgets; take a larger step")
        budgets = first + step * np.arange(max(math.floor(steps + 1e-9) + 1, 0))
    else:
        raise ValueError(f"{text!r} is neither first:last:step nor a,b,c")
    if not len(budgets) or (np.diff(budgets) <= 0).any() or not budgets[0] > 0:
        raise ValueError(f"{text!r} must be positive and rising, with one or more")
    return budgets


def _number(part: str, text: str) -> float:
    """A finite number of a list of budgets."""
    try:
        value = float(part)
    except ValueError:
        raise ValueError(f"{text!r} is not a list of numbers like 2,6,11") from None
    if not math.isfinite(value):
        raise ValueError(f"{text!r} has a value that is not finite")
    return value
