"""The budget per prompt, in TFLOP or in candidates of best-of-N."""

import math
from typing import Literal, TypeVar, get_args

import numpy as np

from ttsnap.pruning.costs import Costs

Unit = Literal["tflop", "candidates"]
SearchUnit = Literal["tflop", "seconds", "candidates"]  # of a real search
BUDGET_UNITS = get_args(SearchUnit)
LONGEST_LIST = 100_000
Budget = TypeVar("Budget", float, np.ndarray)


def in_tflop(budgets: Budget, unit: str, costs: Costs) -> Budget:
    """Budgets in the unit of `costs`, rounded up so that n candidates of best-of-N fit a budget of n candidates."""
    if unit == "candidates":
        return np.nextafter(budgets * costs.best_of_n(), np.inf)
    return budgets


def parse_budgets(text: str) -> np.ndarray:
    """`first:last:step`, last included, or `a,b,c`: float, positive and rising. Raises ValueError for anything else."""
    is_range = ":" in text
    parts = text.split(":" if is_range else ",") if text.strip() else []
    if is_range and len(parts) != 3:
        raise ValueError(f"{text!r} is neither first:last:step nor a,b,c")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        raise ValueError(f"{text!r} is not a list of numbers like 2,6,11") from None
    if not all(map(math.isfinite, numbers)):
        raise ValueError(f"{text!r} has a value that is not finite")
    budgets = np.array(numbers)
    if is_range:
        first, last, step = numbers
        if step <= 0:
            raise ValueError(f"{text!r} is not first:last:step with a positive step")
        steps = (last - first) / step
        if steps >= LONGEST_LIST:
            raise ValueError(f"{text!r} is more than {LONGEST_LIST} budgets; take a larger step")
        budgets = first + step * np.arange(math.floor(max(steps, -1.0) + 1e-9) + 1)
    if not len(budgets) or (np.diff(budgets) <= 0).any() or budgets[0] <= 0:
        raise ValueError(f"{text!r} must be positive and rising, with one or more")
    return budgets
