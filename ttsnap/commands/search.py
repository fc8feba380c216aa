"""`ttsnap search`: the best image of each prompt within a budget, and the trace of what was dropped."""

import argparse
import importlib
import sys

from ttsnap.commands.check import CHECKERS
from ttsnap.commands.device_options import add_device, pick_device
from ttsnap.commands.model_options import add_model, model_settings, open_model
from ttsnap.commands.options import (
    add_replace,
    count,
    in_file,
    natural,
    number,
    out_folder,
    refuse_beside,
    seed,
)
from ttsnap.commands.reward_options import add_rewards
from ttsnap.commands.simulate_options import numbers
from ttsnap.errors import BadInput, TtsnapError, foreign_content
from ttsnap.pruning.costs import BUDGET_UNITS
from ttsnap.pruning.schedule import BEST_OF_N, REAL_METHODS, Schedule
from ttsnap.pruning.seeds import MOST_CANDIDATES
from ttsnap.pruning.units import Units
from ttsnap.rewards.registry import check_options
from ttsnap.storage.files import read_json, write_json
from ttsnap.storage.prompts import read_prompts, shards
from ttsnap.storage.schedules import read_schedule


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("prompts", type=in_file, help="prompt file: .txt, .json, .jsonl or .csv")
    parser.add_argument(
        "--out", type=out_folder, required=True, metavar="DIR", help="images, strips and traces"
    )
    add_model(parser, steps="--model-steps")
    add_rewards(parser)
    parser.add_argument(
        "--method", default="ttsnap", choices=REAL_METHODS,
        help="best_of_n drops nobody, ttsp drops by the base reward, ttsnap by the noise-aware one",
    )  # fmt: skip
    parser.add_argument("--steps", dest="look_at", default="2,6,11", help="steps to look at")
    parser.add_argument("--keep", default="0.4,0.4,0.5", help="fraction to keep at each")
    parser.add_argument(
        "--schedule",
        type=in_file,
        metavar="FILE",
        help="JSON of fit-schedule, instead of --steps and --keep",
    )
    parser.add_argument("--budget", type=number(above=0), required=True, help="of each prompt")
    parser.add_argument(
        "--budget-unit", default="tflop", choices=BUDGET_UNITS,
        help="what --budget counts; candidates: what best-of-N spends on so many",
    )  # fmt: skip
    parser.add_argument(
        "--first-candidate", type=natural, default=0, help="id of the first seed of each prompt"
    )
    parser.add_argument("--limit", type=count, help="only the first so many prompts")
    parser.add_argument("--checker", choices=CHECKERS, help="also judge each pick objectively")
    parser.add_argument("--seed", type=seed, default=0, help="run seed")
    add_replace(parser)
    add_device(parser)


def run(args: argparse.Namespace) -> dict:
    """Search every prompt that is not finished; return the summary."""
    prompts = read_prompts(args.prompts)[: args.limit]
    schedule = _schedule(args, model_settings(args).steps)
    _check(args, schedule)

    from tqdm import tqdm

    from ttsnap.rewards.levels import check_noise_levels
    from ttsnap.search import search_prompts
    from ttsnap.search.folder import Folder, overspent, summarise, trace
    from ttsnap.search.plan import make_plan, pick_batches, prompts_at_once

    device = pick_device(args)
    model, sampler = open_model(args, device)
    levels = _levels(args, schedule)
    for path in [path for checkpoints in levels for path in checkpoints.values()]:
        check_noise_levels(path, "this search", sampler.describe())
    verifiers = _verifiers(args, levels, device)
    batches = pick_batches(sampler, verifiers, getattr(args, "batch_size", 0))
    folder = Folder(args.out)
    settings = _settings(args, model.path, sampler, verifiers, schedule) | _files(args, levels)
    measured = _measured_before(folder, settings)
    plan = make_plan(
        sampler, verifiers, schedule, args.budget, args.budget_unit, batches, measured,
        len(prompts),
    )  # fmt: skip
    settings |= {"denoise_cost": plan.costs.denoise, "look_cost": plan.costs.look}
    notes = _notes(args, plan, verifiers)
    digest = _begin(folder, settings, plan)
    _announce(plan, len(prompts))
    ids = range(args.first_candidate, args.first_candidate + plan.candidates)
    judge = importlib.import_module(CHECKERS[args.checker]) if args.checker else None
    groups = shards(prompts, prompts_at_once(plan, batches))
    for group in tqdm(groups, desc="search", unit="group of prompts", mininterval=5):
        # A group is searched whole: alone, a prompt's last digits would not be the same.
        if all(folder.finished(prompt, digest) for prompt in group):
            continue
        for found in search_prompts(
            sampler, verifiers, schedule, group, ids, seed=args.seed, batches=batches
        ):
            if not folder.finished(found.prompt, digest):
                accepted = judge and bool(judge.check(found.image[None], [found.prompt])[0][0])
                folder.save(found, trace(found, plan, digest, accepted))
    if args.replace:
        folder.drop_others(prompts)
    found = {prompt: folder.finished(prompt, digest) for prompt in prompts}
    if lost := [prompt for prompt in prompts if found[prompt] is None]:
        raise TtsnapError(
            f"{args.out}: what was found for {lost[0][:60]!r} is gone or was written over by another run;"
            " give each run a folder of its own, and run it again"
        )
    rows, seconds = zip(*found.values(), strict=True)
    notes += [note] if (note := overspent(seconds, plan)) else []
    summary = summarise(rows, settings, plan, notes)
    write_json(folder.path / "summary.json", summary)
    write_json(folder.path / "seconds.json", _timing(seconds, plan))
    _print(summary, seconds, args.out)
    return summary


def _check(args: argparse.Namespace, schedule: Schedule) -> None:
    """Refuse, before anything slow is imported, what the options alone show to be wrong."""
    model = model_settings(args)
    if model.negtome:
        raise BadInput(
            "--negtome: a search drops candidates, on which the others of their group depend; give --negtome off"
        )
    schedule.check(model.steps, args.schedule or "--steps/--keep")
    if args.budget_unit == "candidates" and args.budget > MOST_CANDIDATES:
        raise BadInput(
            f"--budget: {args.budget:g} candidates per prompt; give {MOST_CANDIDATES} or fewer"
        )
    for reward in args.rewards:
        check_options(reward["kind"], reward["options"], "--kind", "--option ")
    names = [reward["name"] for reward in args.rewards]
    if len(set(names)) < len(names):
        raise BadInput(f"--name: two rewards are called the same in {names}; name one otherwise")


def _schedule(args: argparse.Namespace, num_steps: int) -> Schedule:
    if args.method != "ttsnap":
        refuse_beside(
            args, f"with --method {args.method}, which reads base rewards", "--checkpoint"
        )
    if args.method == "best_of_n":
        refuse_beside(args, "with --method best_of_n", "--schedule", "--steps", "--keep")
        return BEST_OF_N
    if args.schedule:
        refuse_beside(args, "beside --schedule", "--steps", "--keep")
        return read_schedule(args.schedule, num_steps)
    return Schedule(
        tuple(numbers(args.look_at, "--steps", int)), tuple(numbers(args.keep, "--keep"))
    )


def _levels(args: argparse.Namespace, schedule: Schedule) -> list[dict[int, str]]:
    """{step: checkpoint} of each reward, of the steps that the schedule looks at."""
    from ttsnap.rewards.levels import by_level

    found = []
    for reward in args.rewards:
        levels = by_level(reward["checkpoints"])
        if args.method != "ttsnap":
            levels = {}
        found.append({step: levels[step] for step in schedule.steps if step in levels})
    return found


def _verifiers(args: argparse.Namespace, levels: list[dict[int, str]], device: str) -> list:
    from ttsnap.rewards.base import load_reward
    from ttsnap.search.verifiers import RewardVerifier

    return [
        RewardVerifier(
            of["name"], load_reward(of["kind"], device=device, **of["options"]), checkpoints
        )
        for of, checkpoints in zip(args.rewards, levels, strict=True)
    ]


def _settings(args: argparse.Namespace, model: str, sampler, verifiers, schedule: Schedule) -> dict:
    """Everything that the result depends on but the number of candidates, which follows from it."""
    from ttsnap.models import weights_digest
    from ttsnap.rewards.registry import reward_module
    from ttsnap.storage.code_digest import code

    modules = [reward_module(reward["kind"]) for reward in args.rewards]
    modules += [CHECKERS[args.checker]] if args.checker else []
    return {
        "method": args.method,
        "schedule": schedule.as_json(),
        "budget": args.budget,
        "budget_unit": args.budget_unit,
        "first_candidate": args.first_candidate,
        "seed": args.seed,
        "sampler": sampler.describe(),
        "weights": weights_digest(model),
        "rewards": [
            {
                "name": verifier.name,
                "version": verifier.version,
                "made_from": verifier.made_from,
                "units": verifier.units.to_json(),
                "levels": {str(k): v for k, v in sorted(verifier.weights.version.items())},
            }
            for verifier in verifiers
        ],
        "checker": args.checker,
        "code": code("ttsnap.commands.search", *modules),
    }


def _files(args: argparse.Namespace, levels: list[dict[int, str]]) -> dict:
    """What the rewards are made with and their checkpoints, by content."""
    from ttsnap.models import weights_digest
    from ttsnap.rewards.registry import identity

    return {
        "options": [identity(reward["kind"], reward["options"]) for reward in args.rewards],
        "checkpoints": [
            {str(step): weights_digest(path) for step, path in sorted(of.items())} for of in levels
        ],
    }


def _measured_before(folder, settings: dict) -> dict | None:
    """What a run with the same settings measured here: its number of candidates is kept."""
    file = folder.path / "measured.json"
    if not file.is_file():
        return None
    with foreign_content(file, "what a search measured", "delete this file"):
        before = read_json(file)
        return before["measured"] if before.get("settings") == settings else None


def _begin(folder, settings: dict, plan) -> str:
    """The digest that finished prompts are known by; a measurement is written down."""
    from ttsnap.search.folder import fingerprint

    if plan.measured:
        before = {k: v for k, v in settings.items() if k not in ("denoise_cost", "look_cost")}
        content = {"settings": before, "measured": plan.measured}
        write_json(folder.path / "measured.json", content)
    return fingerprint(settings | {"candidates": plan.candidates})


def _notes(args: argparse.Namespace, plan, verifiers) -> list[str]:
    notes = []
    if args.method != "best_of_n" and not plan.schedule.steps:
        notes.append(f"{args.method}: the schedule drops nobody: this is best-of-N")
    if plan.schedule.steps and plan.candidates <= plan.best_of_n:
        notes.append(
            f"{args.method}: {plan.budget:g} {plan.unit} pay for {plan.candidates} candidates of this schedule and "
            f"{plan.best_of_n} of best-of-N: dropping some can only lose; raise the budget"
        )
    for verifier in verifiers if args.method == "ttsnap" else ():
        missing = [step for step in plan.schedule.steps if step not in verifier.levels]
        if missing:
            notes.append(
                f"{verifier.name}: base reward at steps {missing}, which have no noise-aware "
                "checkpoint"
            )
    if plan.measured:
        notes.append(
            f"{plan.candidates} candidates fit {plan.budget:g} s per prompt by what was measured before the first "
            "(measured.json): from the text to the pick, without opening the model and writing files"
        )
    return notes


def _announce(plan, prompts: int) -> None:
    cost = plan.limit()
    spent = f"{plan.spends:.4g} of {cost:.4g} TFLOP" if cost else f"{plan.budget:g} s at most"
    print(
        f"search: {plan.candidates} candidates of each of {prompts} prompts start, {plan.finishing} finish: "
        f"{spent} per prompt",
        file=sys.stderr,
    )


def _timing(seconds: list[dict], plan) -> dict:
    parts = seconds[0]
    mean = {part: sum(of[part] for of in seconds) / len(seconds) for part in parts}
    return {"mean": mean, "measured_first": plan.measured, "prompts": seconds}


def _print(summary: dict, seconds: list[dict], out: str) -> None:
    mean, budget = summary["mean"], summary["budget_tflop"]
    units = {
        reward["name"]: Units.from_json(reward["units"], reward["name"])
        for reward in summary["settings"]["rewards"]
    }
    rewards = ", ".join(
        f"{units[name].label} {units[name].reported(value):.4g}"
        for name, value in mean["rewards"].items()
    )
    total = sum(of["total"] for of in seconds) / len(seconds)
    spent = mean["spent_tflop"]["total"]
    print(f"{len(seconds)} prompts, {summary['candidates']} candidates of each: {rewards}")
    of = f" of {budget:.4g}" if budget else ""
    print(f"per prompt {spent:.4g}{of} TFLOP, {total:.3g} s; pictures and traces in {out}")
    for note in summary["notes"]:
        print(f"note: {note}", file=sys.stderr)
