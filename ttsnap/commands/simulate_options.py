"""The options that `simulate` and `fit-schedule` share, as a person types them."""

import argparse
import math
from collections.abc import Callable

import numpy as np

from ttsnap.commands.options import number, seed
from ttsnap.errors import BadInput
from ttsnap.pruning.costs import ACCOUNTINGS, Costs
from ttsnap.storage.tensor import RewardTensor

MOST_BUDGETS = 100_000


def add_cost_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--budgets", default="400:4000:200", help="TFLOP per prompt: first:last:step, or a,b,c"
    )
    parser.add_argument(
        "--budgets-in",
        default="tflop",
        choices=("tflop", "candidates"),
        help="what --budgets counts: TFLOP, or candidates of best-of-N",
    )
    parser.add_argument(
        "--denoise-cost",
        type=number(above=0),
        metavar="TFLOP",
        help="of one denoiser evaluation; by default the tensor's denoise_tflop",
    )
    parser.add_argument(
        "--look-cost",
        type=number(0),
        metavar="TFLOP",
        help="of one decode and reward; by default the tensor's look_tflop",
    )
    parser.add_argument(
        "--accounting",
        default="exact",
        choices=ACCOUNTINGS,
        help="published leaves out one evaluation per candidate, "
        "realised never spends more than the budget on a whole number of survivors",
    )
    parser.add_argument("--seed", type=seed, default=0, help="of the draws and the bootstrap")


def costs_of(args: argparse.Namespace, tensor: RewardTensor, *others: RewardTensor) -> Costs:
    """The costs given, those that are not from the tensor's attributes; a look reads the rewards of the others too."""
    values = []
    for option, attribute in (("denoise", "denoise_tflop"), ("look", "look_tflop")):
        value = getattr(args, f"{option}_cost")
        value = tensor.attrs.get(attribute) if value is None else value
        if not isinstance(value, int | float):
            raise BadInput(
                f"--{option}-cost: not given, and the tensor has no {attribute}; give it in TFLOP"
            )
        values.append(float(value))
    if args.look_cost is None:
        values[1] += sum(other.attrs.get("reward_tflop", 0) for other in others)
    return Costs(*values, len(tensor.steps), args.accounting)


def budgets_of(args: argparse.Namespace, costs: Costs) -> np.ndarray:
    """The budgets in TFLOP, rounded up so that n candidates of best-of-N always fit a budget of n."""
    budgets = parse_budgets(args.budgets)
    if args.budgets_in == "candidates":
        budgets = np.nextafter(budgets * costs.best_of_n(), np.inf)
    return budgets


def check_seed(seed: int) -> int:
    if seed < 0:
        raise BadInput(f"--seed: {seed} is negative; give 0 or more")
    return seed


def numbers(text: str, option: str, kind: Callable = float) -> list:
    """`a,b,c` as numbers; an empty text is none."""
    try:
        values = [kind(part) for part in text.split(",")] if text.strip() else []
    except ValueError:
        raise BadInput(f"{option}: {text!r} is not a list of numbers like 2,6,11") from None
    if not all(math.isfinite(value) for value in values):
        raise BadInput(f"{option}: {text!r} has a value that is not finite")
    return values


def parse_budgets(text: str) -> np.ndarray:
    """`first:last:step`, last included, or `a,b,c`: float, rising and positive."""
    parts = text.split(":")
    if len(parts) == 1:
        budgets = np.array(numbers(text, "--budgets"))
    elif len(parts) == 3:
        first, last, step = (numbers(part, "--budgets") or [math.nan] for part in parts)
        if len(first) != 1 or len(last) != 1 or len(step) != 1 or not step[0] > 0:
            raise BadInput(f"--budgets: {text!r} is not first:last:step with a positive step")
        steps = (last[0] - first[0]) / step[0]
        if not steps < MOST_BUDGETS:
            raise BadInput(
                f"--budgets: {text!r} is more than {MOST_BUDGETS} budgets; take a larger step"
            )
        count = math.floor(steps + 1e-9) + 1
        budgets = first[0] + step[0] * np.arange(max(count, 0))
    else:
        raise BadInput(f"--budgets: {text!r} is neither first:last:step nor a,b,c")
    if not len(budgets) or (np.diff(budgets) <= 0).any() or not budgets[0] > 0:
        raise BadInput(f"--budgets: {text!r} must be positive and rising, with one or more")
    return budgets


def parse_prompts(text: str | None, count: int, option: str = "--prompts") -> slice:
    """`a:b`, b excluded, of `count` prompts; None is all of them."""
    if text is None:
        return slice(0, count)
    try:
        first, last = (int(part) if part.strip() else None for part in text.split(":"))
    except ValueError:
        raise BadInput(f"{option}: {text!r} is not a range like 0:100") from None
    first, last = first or 0, count if last is None else last
    if not 0 <= first < last <= count:
        raise BadInput(f"{option}: {text!r} is not a range within the {count} prompts (0:{count})")
    return slice(first, last)
