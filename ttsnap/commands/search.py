"""`ttsnap search`: the best image of each prompt within a budget, and the trace of what was dropped."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from pydantic_settings import CliPositionalArg

from ttsnap.commands.console import print_notes
from ttsnap.commands.device_options import OnDevice, pick_device
from ttsnap.commands.draft_options import ForLooks, check_looks, open_with_drafts
from ttsnap.commands.options import Filled, InFile, LookList, Numbers, OutFolder, Replace, refuse_beside
from ttsnap.commands.reward_options import ForRewards, check_rewards
from ttsnap.errors import BadInput
from ttsnap.models import weights_digest
from ttsnap.pruning.budget import SearchUnit
from ttsnap.pruning.schedule import BEST_OF_N, PUBLISHED, REAL_METHODS, Schedule
from ttsnap.pruning.seeds import MOST_CANDIDATES
from ttsnap.pruning.units import Units
from ttsnap.settings.kinds import Checker
from ttsnap.settings.section import Count, Positive, Seed
from ttsnap.storage.prompts import read_prompts
from ttsnap.storage.schedules import read_schedule


class SearchOptions(Replace, ForLooks, ForRewards, OnDevice):
    """The prompts, how to prune, and the budget."""

    fills: ClassVar = Filled(("traces",), ("prompts", "limit", "batch_size"))

    prompts: CliPositionalArg[InFile] = Field(description="prompt file (.txt, .json, .jsonl or .csv)")
    out: OutFolder = Field(description="folder for images, strips and traces")
    batch_size: Positive | None = Field(
        None, description="candidates to denoise at once; default: as many as fit in memory"
    )
    method: Literal[REAL_METHODS] = Field(
        "ttsnap", description="best_of_n drops none, ttsp drops by the base reward, ttsnap by the noise-aware one"
    )
    looks: LookList = Field(
        list(PUBLISHED.looks), description="what to look at: names of drafts, then steps, e.g. few,9"
    )
    keep: Numbers = Field(list(PUBLISHED.keep), description="fraction to keep at each look")
    schedule: InFile | None = Field(None, description="JSON of fit-schedule, instead of --looks and --keep")
    budget: Annotated[float, Field(gt=0)] = Field(description="budget per prompt")
    budget_unit: SearchUnit = Field(
        "tflop", description="unit of --budget; candidates: what best-of-N spends on so many"
    )
    first_candidate: Count = Field(0, description="id of the first seed of each prompt")
    limit: Positive | None = Field(None, description="search only so many prompts, the first ones")
    checker: Checker | None = Field(None, description="also judge each pick objectively")
    seed: Seed = Field(0, description="run seed")


def run(options: SearchOptions) -> dict:
    """Search every prompt that is not finished; return the summary."""
    prompts = read_prompts(options.prompts)[: options.limit]
    schedule = _check(options)
    from ttsnap.search.run import SearchReward, SearchTask, search_into

    sampler, drafters = open_with_drafts(options, pick_device(options), schedule.drafts)
    task = SearchTask(
        [SearchReward(r.called, r.kind, r.options, r.checkpoints) for r in options.rewards],
        schedule, options.budget, options.budget_unit, options.method,
        options.first_candidate, options.seed, options.checker,
    )  # fmt: skip
    summary, times = search_into(
        options.out, sampler, prompts, task, weights=weights_digest(options.path), drafters=drafters,
        batch_size=options.batch_size or 0, replace=options.replace,
    )  # fmt: skip
    _print(summary, times["mean"]["total"], options.out)
    return summary


def _check(options: SearchOptions) -> Schedule:
    """Check the options before anything slow is imported; return the schedule."""
    check_looks(options)
    if options.negtome:
        raise BadInput("--negtome: a search drops candidates that others of their group depend on; give --negtome off")
    schedule = _schedule(options).check(options.steps, options.schedule or "--looks/--keep", options.drafts)
    if options.budget_unit == "candidates" and options.budget > MOST_CANDIDATES:
        raise BadInput(f"--budget: {options.budget:g} candidates per prompt; give {MOST_CANDIDATES} or fewer")
    check_rewards(options)
    return schedule


def _schedule(options: SearchOptions) -> Schedule:
    if options.method != "ttsnap":
        reason = f"with --method {options.method}, which reads base rewards"
        refuse_beside(options, reason, "checkpoint")
        if any(reward.checkpoints for reward in options.reward):
            raise BadInput(f"--reward: checkpoints have no effect {reason}; leave them out")
    if options.method == "best_of_n":
        refuse_beside(options, "with --method best_of_n", "schedule", "looks", "keep")
        return BEST_OF_N
    if options.schedule:
        refuse_beside(options, "beside --schedule", "looks", "keep")
        return read_schedule(options.schedule, options.steps, options.drafts)
    return Schedule(tuple(options.looks), tuple(options.keep))


def _print(summary: dict, seconds: float, out: str) -> None:
    """Print the mean rewards, the cost and the notes."""
    mean, budget = summary["mean"], summary["budget_tflop"]
    rewards = []
    for reward in summary["settings"]["rewards"]:
        units = Units.from_json(reward["units"], reward["name"])
        rewards.append(f"{units.label} {units.reported(mean['rewards'][reward['name']]):.4g}")
    limit = f" of {budget:.4g}" if budget else ""
    print(f"{len(summary['prompts'])} prompts, {summary['candidates']} candidates each: {', '.join(rewards)}")
    spent = mean["spent_tflop"]["total"]
    print(f"per prompt {spent:.4g}{limit} TFLOP, {seconds:.3g} s; pictures and traces in {out}")
    print_notes(summary["notes"])
