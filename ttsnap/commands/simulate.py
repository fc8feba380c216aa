"""`ttsnap simulate`: search methods on a reward tensor: reward against budget, with intervals, and gains."""

from pydantic import Field, field_validator
from pydantic_settings import CliPositionalArg

from ttsnap.commands.console import print_notes
from ttsnap.commands.options import Command, InFile, OutFile, refuse_beside, split_list
from ttsnap.commands.simulate_options import Costed, PromptRange, costs_and_budgets, prompt_range
from ttsnap.pruning.schedule import Schedule
from ttsnap.pruning.seeds import MOST_DRAWS
from ttsnap.settings.schedule import ScheduleSettings
from ttsnap.simulate.methods import METHODS, load_method
from ttsnap.simulate.summary import as_csv, simulate_prompts
from ttsnap.storage.files import write_text
from ttsnap.storage.schedules import read_schedule
from ttsnap.storage.tensor import read_tensor


class SimulateOptions(Command, ScheduleSettings, Costed):
    """The tensors, schedules and budgets, and where the curves go."""

    tensor: CliPositionalArg[list[InFile]] = Field(
        min_length=1, description="reward tensor; several are combined by their rank sum"
    )
    schedule: InFile | None = Field(None, description="JSON of fit-schedule, instead of --looks and --keep")
    ttsp_schedule: InFile | None = Field(None, description="JSON of fit-schedule, for TTSp alone")
    steps_schedule: InFile | None = Field(
        None, description="JSON of fit-schedule --no-drafts: also simulate TTSnap with it, as ttsnap_steps"
    )
    draws: int = Field(50, gt=0, le=MOST_DRAWS, description="draws of candidates per prompt")
    prompts: PromptRange | None = Field(None, description="only the prompts A:B, B excluded")
    method: list[str] = Field(
        [], description="NAME=MODULE:FUNCTION, a further method of yours; see ttsnap.simulate.methods; repeatable"
    )
    csv: OutFile | None = Field(None, description="write the curves as CSV to this file")
    figure: OutFile | None = Field(None, description="draw reward against budget as PNG to this file")

    @field_validator("looks", "keep", mode="before")
    @classmethod
    def _typed(cls, value):
        return split_list(value)


def run(options: SimulateOptions) -> dict:
    """Simulate, write the curves and print the gains; return the result."""
    tensors = [read_tensor(path) for path in options.tensor]
    prompts = prompt_range(options.prompts, len(tensors[0].prompts))
    costs, budgets = costs_and_budgets(options, tensors)
    drafts = tensors[0].drafts
    schedule, schedules = _schedule(options, costs.num_steps, drafts), {}
    if options.ttsp_schedule:
        schedules["ttsp"] = read_schedule(options.ttsp_schedule, costs.num_steps, drafts)
    methods = {**METHODS, **dict(map(load_method, options.method))}
    if options.steps_schedule:
        schedules["ttsnap_steps"] = read_schedule(options.steps_schedule, costs.num_steps)
        methods["ttsnap_steps"] = METHODS["ttsnap"]
    result = simulate_prompts(
        tensors, prompts, budgets, costs, schedule,
        schedules=schedules, methods=methods,
        draws=options.draws, seed=options.seed,
    )  # fmt: skip
    if options.csv:
        write_text(options.csv, as_csv(result["methods"]))
    if options.figure:
        from ttsnap.report.figures import reward_against_budget

        reward_against_budget(result, options.figure)
    _print(result)
    return result


def _schedule(options: SimulateOptions, num_steps: int, drafts: list[str]) -> Schedule:
    if options.schedule:
        refuse_beside(options, "beside --schedule", "looks", "keep")
        return read_schedule(options.schedule, num_steps, drafts)
    return options.fixed(num_steps, "--looks/--keep", drafts)


def _print(result: dict) -> None:
    print(f"gain over best-of-N ({result['unit']}), 95 % interval:")
    for name, gain in result["gain"].items():
        if gain["value"] is None:
            continue
        ends = "" if gain["low"] is None else f"  ({gain['low']:+.1%} to {gain['high']:+.1%})"
        print(f"  {name:10} {gain['value']:+.1%}{ends}")
    print_notes(result["notes"])
