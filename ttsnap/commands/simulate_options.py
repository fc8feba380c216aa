"""The options that `simulate` and `fit-schedule` share: budgets, costs, and a range of prompts."""

import re
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, Field

from ttsnap.errors import BadInput
from ttsnap.pruning.budget import Unit, in_tflop, parse_budgets
from ttsnap.pruning.costs import Accounting, Costs
from ttsnap.settings.section import Section, Seed
from ttsnap.storage.costs import costs_of
from ttsnap.storage.tensor import RewardTensor


def _checked(text: str) -> str:
    parse_budgets(text)
    return text


def _range(text: str) -> str:
    """Check the form of a range; `prompt_range` checks it against the number of prompts."""
    if not re.fullmatch(r"\s*(-?\d{1,9})?\s*:\s*(-?\d{1,9})?\s*", text):
        raise ValueError(f"{text!r} is not a range like 0:100")
    return text


PromptRange = Annotated[str, AfterValidator(_range)]


class Costed(Section):
    """The budgets, what a candidate costs, and the seed."""

    budgets: Annotated[str, AfterValidator(_checked)] = Field(
        "400:4000:200", description="TFLOP per prompt: first:last:step, or a,b,c"
    )
    budgets_in: Unit = Field("tflop", description="unit of --budgets: TFLOP, or candidates of best-of-N")
    denoise_cost: float | None = Field(
        None, gt=0, description="TFLOP of one denoiser evaluation; default: the tensor's denoise_tflop"
    )
    look_cost: float | None = Field(
        None, ge=0, description="TFLOP of one decode and reward; default: the tensor's look_tflop"
    )
    accounting: Accounting = Field(
        "exact",
        description="published leaves out one evaluation per candidate; whole counts whole survivors and never exceeds "
        "the budget (older name: realised)",
    )
    seed: Seed = Field(0, description="seed of the draws and the bootstrap")


def costs_and_budgets(options: Costed, tensors: list[RewardTensor]) -> tuple[Costs, np.ndarray]:
    """The costs of a candidate, from the options or else the tensors, and the budgets in TFLOP."""
    costs = costs_of(tensors, options.denoise_cost, options.look_cost, options.accounting)
    return costs, in_tflop(parse_budgets(options.budgets), options.budgets_in, costs)


def prompt_range(text: str | None, count: int, option: str = "--prompts") -> slice:
    """The prompts `a:b`, b excluded, of `count`; None: all. Raises BadInput for a range that is not within them."""
    first, last = (text or ":").split(":")
    prompts = slice(int(first) if first.strip() else 0, int(last) if last.strip() else count)
    if not 0 <= prompts.start < prompts.stop <= count:
        raise BadInput(f"{option}: {text!r} is not a range within the {count} prompts (0:{count})")
    return prompts
