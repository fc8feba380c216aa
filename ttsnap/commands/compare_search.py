"""`ttsnap compare-search`: real searches beside what the simulation foretold of them."""

import argparse
from pathlib import Path

from ttsnap.commands.options import MOST_DRAWS, in_file, in_folder, seed, whole
from ttsnap.commands.simulate_options import check_seed
from ttsnap.errors import BadInput, foreign_content
from ttsnap.simulate.agreement import compare, join_searches
from ttsnap.storage.files import read_json
from ttsnap.storage.tensor import read_tensor


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "search", type=in_folder, nargs="+", metavar="DIR",
        help="folders of `ttsnap search`: of several methods, budgets and shards",
    )  # fmt: skip
    parser.add_argument(
        "--tensor", type=in_file, nargs="+", required=True, metavar="FILE",
        help="reward tensor of the same prompts, one for each reward of the searches",
    )  # fmt: skip
    parser.add_argument(
        "--draws", type=whole(1, MOST_DRAWS), default=100, help="draws of the simulation"
    )
    parser.add_argument("--seed", type=seed, default=0, help="of the draws and the bootstrap")


def run(args: argparse.Namespace) -> dict:
    """Compare; print a line per method and budget."""
    tensors = [read_tensor(path) for path in args.tensor]
    with foreign_content(", ".join(args.search[:3]), "searches", "run `ttsnap search` again"):
        parts = [_read(Path(folder)) for folder in args.search]
        result = compare(join_searches(parts), tensors, args.draws, check_seed(args.seed))
        for row in result["rows"]:
            _print(row, result["rewards"][0])
    print(f"{result['differing']} of {result['compared']} figures differ (95 % intervals)")
    return result


def _read(folder: Path) -> dict:
    if not (folder / "summary.json").is_file():
        raise BadInput(
            f"{folder}: no finished search here; `ttsnap search --out {folder}` ends with one"
        )
    summary, seconds = (read_json(folder / f"{name}.json") for name in ("summary", "seconds"))
    if not all({"made_from", "units"} <= set(r) for r in summary["settings"]["rewards"]):
        raise BadInput(f"{folder}: by an earlier version of ttsnap; search again")
    if len(summary["prompts"]) != len(seconds["prompts"]):
        raise BadInput(
            f"{folder}: summary.json and seconds.json are of different runs; search again"
        )
    return {"summary": summary, "seconds": seconds, "where": folder}


def _print(row: dict, reward: str) -> None:
    realised, foretold = row["realised"][reward], row["foretold"].get(reward)
    told = f"{foretold['value']:.4g}" if foretold else "beyond the pool"
    print(
        f"{row['method']:10} budget {row['budget']:g}: {realised['value']:.4g} (foretold {told}), "
        f"{row['spent_tflop']:.4g} TFLOP, {row['seconds']['total']:.3g} s"
    )
