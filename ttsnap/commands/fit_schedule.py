"""Fit the pruning schedule that gains most on some prompts, and report its gain on others."""

import argparse
import sys

from ttsnap.commands.options import MOST_SCHEDULES, in_file, whole
from ttsnap.commands.simulate_options import (
    add_cost_arguments,
    budgets_of,
    check_seed,
    costs_of,
    parse_prompts,
)
from ttsnap.errors import BadInput
from ttsnap.pruning.schedule import BEST_OF_N
from ttsnap.simulate.fit import LOOKS, Settings, fit_schedule
from ttsnap.simulate.methods import fallback_steps
from ttsnap.storage.schedules import read_schedule
from ttsnap.storage.tensor import read_tensor, sources


def add_arguments(parser: argparse.ArgumentParser) -> None:
    defaults = Settings()
    parser.add_argument("tensor", type=in_file, help="reward tensor")
    parser.add_argument("--method", default="ttsnap", choices=LOOKS, help="what to prune by")
    parser.add_argument(
        "--fit-prompts", metavar="A:B", help="fit on these, B excluded; by default the first half"
    )
    parser.add_argument(
        "--test-prompts", metavar="A:B", help="report on these; by default the second half"
    )
    add_cost_arguments(parser)
    parser.add_argument(
        "--evaluations",
        type=whole(1, MOST_SCHEDULES),
        default=defaults.evaluations,
        help="schedules to judge",
    )
    parser.add_argument(
        "--most-looks",
        type=whole(1, 1000),
        default=defaults.most_looks,
        help="looks in a schedule, at most",
    )
    parser.add_argument(
        "--incumbent", type=in_file, metavar="FILE",
        help="JSON of an earlier fit-schedule, whose schedule stays unless another clearly gains more",
    )  # fmt: skip
    parser.add_argument(
        "--per-budget", action="store_true", help="fit one more schedule for each budget alone"
    )


def run(args: argparse.Namespace) -> dict:
    tensor = read_tensor(args.tensor)
    count = len(tensor.prompts)
    costs = costs_of(args, tensor)
    budgets = budgets_of(args, costs)
    fit, test = _split(args, count)
    incumbent = read_schedule(args.incumbent, costs.num_steps) if args.incumbent else BEST_OF_N
    settings = Settings(evaluations=args.evaluations, most_looks=args.most_looks)
    given = (costs, args.method, check_seed(args.seed), settings)
    parts = (tensor.select(fit), tensor.select(test))
    result = fit_schedule(*parts, budgets, *given, incumbent)
    if args.method == "ttsnap":
        result["fallback_steps"] = fallback_steps(tensor, result["schedule"]["steps"])
        if result["fallback_steps"]:
            note = f"ttsnap: base reward at steps {result['fallback_steps']}, which have no other"
            result["notes"].append(note)
    if args.per_budget:
        result["per_budget"] = [
            {"budget": budget, **fit_schedule(*parts, budgets[i : i + 1], *given)}
            for i, budget in enumerate(budgets.tolist())
        ]
    result["made_from"] = sources([tensor])
    result["settings"] = {
        "method": args.method,
        "incumbent": incumbent.as_json(),
        "denoise_cost": costs.denoise,
        "look_cost": costs.look,
        "accounting": costs.accounting,
        "num_steps": costs.num_steps,
        "budgets": budgets.tolist(),
        "fit_prompts": [fit.start, fit.stop],
        "test_prompts": [test.start, test.stop],
        "seed": args.seed,
    }
    _print(result)
    return result


def _split(args: argparse.Namespace, count: int) -> tuple[slice, slice]:
    """The prompts to fit on and those to report on, none in common."""
    if count < 2:
        raise BadInput("tensor: it has one prompt; give two or more, to fit on and to report on")
    fit = parse_prompts(args.fit_prompts or f"0:{count // 2}", count, "--fit-prompts")
    test = parse_prompts(args.test_prompts or f"{count // 2}:{count}", count, "--test-prompts")
    if fit.start < test.stop and test.start < fit.stop:
        raise BadInput(
            f"--test-prompts: {test.start}:{test.stop} overlaps --fit-prompts "
            f"{fit.start}:{fit.stop}; report on prompts that were not fitted on"
        )
    return fit, test


def _print(result: dict) -> None:
    _print_one(result, "")
    for row in result.get("per_budget", []):
        _print_one(row, f"budget {row['budget']:g}: ")
    for note in result["notes"]:
        print(f"note: {note}", file=sys.stderr)


def _print_one(result: dict, begin: str) -> None:
    schedule, gain = result["schedule"], result["gain"]["held_out"]
    if result["fallback"]:
        print(f"{begin}best-of-N")
        return
    print(f"{begin}steps {schedule['steps']} keep {schedule['keep']}")
    if gain["value"] is None:
        return
    of = "{:+.4g}" if "unit" in gain else "{:+.1%}"
    ends = "" if gain["low"] is None else f" ({of} to {of})".format(gain["low"], gain["high"])
    unit = f" {gain['unit']}" if "unit" in gain else ""
    print(f"  held-out gain over best-of-N: {of.format(gain['value'])}{unit}{ends}")
