"""`ttsnap fit-schedule`: the pruning schedule that gains most on some prompts, and its gain on others."""

from typing import Literal

from pydantic import Field
from pydantic_settings import CliPositionalArg

from ttsnap.commands.console import print_notes
from ttsnap.commands.options import Command, InFile
from ttsnap.commands.simulate_options import Costed, PromptRange, costs_and_budgets, prompt_range
from ttsnap.errors import BadInput
from ttsnap.pruning.schedule import Schedule
from ttsnap.simulate.fit import Settings, fit_prompts
from ttsnap.simulate.judge import LOOK_READERS
from ttsnap.storage.tensor import read_tensor


class FitScheduleOptions(Command, Costed):
    """What to fit on, and how long to search."""

    tensor: CliPositionalArg[InFile] = Field(description="reward tensor")
    method: Literal[*LOOK_READERS] = Field("ttsnap", description="what to prune by")
    fit_prompts: PromptRange | None = Field(
        None, description="fit on the prompts A:B, B excluded; default: the first half"
    )
    test_prompts: PromptRange | None = Field(None, description="report on these; default: the second half")
    evaluations: int = Field(Settings.evaluations, gt=0, le=1_000_000, description="schedules to try")
    most_looks: int = Field(Settings.most_looks, gt=0, le=1000, description="largest number of looks in a schedule")
    drafts: bool = Field(True, description="look at drafts too; --no-drafts fits among the steps alone")
    per_budget: bool = Field(False, description="also fit a schedule for each budget alone")


def run(options: FitScheduleOptions) -> dict:
    """Fit, print the schedule and its gain on the other prompts; return the result."""
    tensor = read_tensor(options.tensor)
    count = len(tensor.prompts)
    costs, budgets = costs_and_budgets(options, [tensor])
    if count < 2:
        raise BadInput("tensor: it has one prompt; give two or more, some to fit on and others to report on")
    fit = prompt_range(options.fit_prompts or f"0:{count // 2}", count, "--fit-prompts")
    test = prompt_range(options.test_prompts or f"{count // 2}:{count}", count, "--test-prompts")
    result = fit_prompts(
        tensor, fit, test, budgets, costs, options.method, options.seed,
        Settings(evaluations=options.evaluations, most_looks=options.most_looks),
        without_drafts=not options.drafts, per_budget=options.per_budget,
    )  # fmt: skip
    _print(result, "")
    for row in result.get("per_budget", []):
        _print(row, f"budget {row['budget']:g}: ")
    print_notes(result["notes"])
    return result


def _print(result: dict, begin: str) -> None:
    schedule, gain = Schedule.from_json(result["schedule"]), result["gain"]["held_out"]
    if result["fallback"]:
        print(f"{begin}best-of-N")
        return
    print(f"{begin}looks {list(schedule.looks)} keep {list(schedule.keep)}")
    if gain["value"] is None:
        return
    form = "{:+.4g}" if "unit" in gain else "{:+.1%}"
    ends = "" if gain["low"] is None else f" ({form} to {form})".format(gain["low"], gain["high"])
    unit = f" {gain['unit']}" if "unit" in gain else ""
    print(f"  held-out gain over best-of-N: {form.format(gain['value'])}{unit}{ends}")
