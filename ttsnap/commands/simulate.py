"""Simulate search methods on a reward tensor: reward against budget, with intervals and gains."""

import argparse
import csv
import importlib
import io
import sys
from pathlib import Path

from ttsnap.commands.options import MOST_DRAWS, in_file, out_file, refuse_beside, whole
from ttsnap.commands.simulate_options import (
    add_cost_arguments,
    budgets_of,
    check_seed,
    costs_of,
    numbers,
    parse_prompts,
)
from ttsnap.errors import BadInput
from ttsnap.pruning.schedule import Schedule
from ttsnap.simulate.methods import METHODS, Method, fallback_steps
from ttsnap.simulate.montecarlo import simulate
from ttsnap.simulate.summary import summarise
from ttsnap.storage.files import write_text
from ttsnap.storage.schedules import read_schedule
from ttsnap.storage.tensor import read_tensor, sources


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "tensor", type=in_file, nargs="+", help="reward tensor; several go by their rank sum"
    )
    parser.add_argument("--steps", default="2,6,11", help="steps to look at")
    parser.add_argument("--keep", default="0.4,0.4,0.5", help="fraction to keep at each")
    parser.add_argument(
        "--schedule",
        type=in_file,
        metavar="FILE",
        help="JSON of fit-schedule, instead of --steps and --keep",
    )
    parser.add_argument(
        "--ttsp-schedule",
        type=in_file,
        metavar="FILE",
        help="JSON of fit-schedule, a schedule for TTSp alone",
    )
    add_cost_arguments(parser)
    parser.add_argument(
        "--draws", type=whole(1, MOST_DRAWS), default=50, help="draws of candidates per prompt"
    )
    parser.add_argument("--prompts", metavar="A:B", help="only these prompts, B excluded")
    parser.add_argument(
        "--method",
        action="append",
        default=[],
        metavar="NAME=MODULE:FUNCTION",
        help="a method of your own beside the others; see ttsnap.simulate.methods",
    )
    parser.add_argument(
        "--csv", type=out_file, metavar="FILE", help="write the curves as CSV to FILE"
    )
    parser.add_argument(
        "--figure", type=out_file, metavar="FILE", help="draw reward against budget as PNG"
    )


def run(args: argparse.Namespace) -> dict:
    tensors = [read_tensor(path) for path in args.tensor]
    prompts = parse_prompts(args.prompts, len(tensors[0].prompts))
    costs = costs_of(args, *tensors)
    budgets = budgets_of(args, costs)
    made_from = sources(tensors)
    tensors = [tensor.select(prompts) for tensor in tensors]
    schedule, schedules = _schedule(args, costs.num_steps), {}
    if args.ttsp_schedule:
        schedules["ttsp"] = read_schedule(args.ttsp_schedule, costs.num_steps)
    methods = {**METHODS, **dict(_own_method(text) for text in args.method)}
    curves = simulate(
        tensors,
        budgets,
        costs,
        schedule,
        schedules=schedules,
        methods=methods,
        draws=args.draws,
        seed=check_seed(args.seed),
    )
    result = summarise(curves, budgets, costs, tensors, args.seed)
    fallback = sorted({s for tensor in tensors for s in fallback_steps(tensor, schedule.steps)})
    if fallback:
        result["notes"].append(f"ttsnap: base reward at steps {fallback}, which have no other")
    result |= {
        "made_from": made_from,
        "fallback_steps": fallback,
        "schedules": {name: curve.schedule.as_json() for name, curve in curves.items()},
        "settings": {
            "denoise_cost": costs.denoise,
            "look_cost": costs.look,
            "accounting": costs.accounting,
            "draws": args.draws,
            "seed": args.seed,
            "prompts": [prompts.start, prompts.stop],
            "pool": tensors[0].base.shape[1],
        },
    }
    if args.csv:
        write_text(args.csv, as_csv(result["methods"]))
    if args.figure:
        from ttsnap.report.figures import reward_against_budget

        reward_against_budget(result, args.figure)
    _print(result)
    return result


def as_csv(methods: dict) -> str:
    """One line per method and budget; an empty field where there is no value."""
    text = io.StringIO()
    first = next(iter(methods.values()))
    columns = [key for key in first if key != "by_reward"]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["method", *columns])
    for name, curve in methods.items():
        for row in zip(*(curve[column] for column in columns), strict=True):
            writer.writerow([name, *row])
    return text.getvalue()


def _schedule(args: argparse.Namespace, num_steps: int) -> Schedule:
    if args.schedule:
        refuse_beside(args, "beside --schedule", "--steps", "--keep")
        return read_schedule(args.schedule, num_steps)
    steps, keep = numbers(args.steps, "--steps", int), numbers(args.keep, "--keep")
    return Schedule(tuple(steps), tuple(keep)).check(num_steps, "--steps/--keep")


def _own_method(text: str) -> tuple[str, Method]:
    name, _, place = text.partition("=")
    module, _, function = place.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        return name, getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise BadInput(
            f"--method: {text!r} is not NAME=MODULE:FUNCTION of a function that can be imported "
            f"({error})"
        ) from None
    finally:
        sys.path.pop(0)


def _print(result: dict) -> None:
    print(f"gain over best-of-N ({result['unit']}), 95 % interval:")
    for name, gain in result["gain"].items():
        if gain["value"] is None:
            continue
        ends = "" if gain["low"] is None else f"  ({gain['low']:+.1%} to {gain['high']:+.1%})"
        print(f"  {name:10} {gain['value']:+.1%}{ends}")
    for note in result["notes"]:
        print(f"note: {note}", file=sys.stderr)
