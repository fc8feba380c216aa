"""`ttsnap report-sft`: one part of the report on the second method: table, loss curves or image grids."""

import argparse
import json
from pathlib import Path

from ttsnap.commands.options import in_file, out_file
from ttsnap.errors import BadInput, foreign_content
from ttsnap.storage.files import read_json, reading, write_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--part", required=True, choices=PARTS, help="what to make")
    parser.add_argument(
        "--comparison",
        type=in_file,
        nargs="+",
        default=[],
        metavar="FILE",
        help="JSON of `compare-sft` (table)",
    )
    parser.add_argument(
        "--own-models",
        action="store_true",
        help="each seed has an original model of its own (table)",
    )
    parser.add_argument(
        "--training", type=in_file, nargs="+", default=[], metavar="FILE",
        help="train_summary.json below …/SEED/WAY/CYCLE/ (curves)",
    )  # fmt: skip
    parser.add_argument(
        "--images", type=in_file, nargs="+", default=[], metavar="FILE",
        help="images of `compare-sft`, named WAY.CYCLE.safetensors (grid)",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=out_file, required=True, metavar="FILE", help="HTML (table) or PNG"
    )


def run(args: argparse.Namespace) -> dict:
    """Make the part."""
    paths = [*args.comparison, *args.training, *args.images]
    names = ", ".join(paths[:3]) + (", …" if paths[3:] else "")
    with foreign_content(names, f"what --part {args.part} takes", "see `ttsnap report-sft --help`"):
        return PARTS[args.part](args)


def _table(args: argparse.Namespace) -> dict:
    from ttsnap.report.pages import render
    from ttsnap.report.sft_summary import NAMES, summarise_sft

    comparisons = [read_json(path) for path in _some(args, "comparison")]
    summary = summarise_sft(comparisons)
    write_text(args.out, render("sft", **summary, names=NAMES, own_models=args.own_models))
    print("\n".join(summary["sentences"]))
    return summary


def _curves(args: argparse.Namespace) -> dict:
    from ttsnap.report.sft_figures import loss_curves
    from ttsnap.report.sft_summary import join_histories

    summaries = []
    for path in map(Path, _some(args, "training")):
        seed, way, cycle = path.parts[-4:-1]
        about = {"run_seed": int(seed), "way": way, "cycle": int(cycle)}
        summaries.append(read_json(path) | about)
    histories, breaks = join_histories(summaries)
    loss_curves(histories, args.out, breaks)
    return {}


def _grid(args: argparse.Namespace) -> dict:
    from safetensors import safe_open

    from ttsnap.report.sft_figures import image_grid
    from ttsnap.report.sft_summary import NAMES

    rows, fresh, titles = {}, {}, []
    for path in map(Path, _some(args, "images")):
        way, cycle = path.stem.split(".")
        name = NAMES[way] + (f", cycle {cycle}" if int(cycle) else "")
        with (
            reading(path, "not the images of a training", "run sft again"),
            safe_open(path, framework="np") as file,
        ):
            about = json.loads(file.metadata()["ttsnap"])
            if not rows:
                titles = about["test"]
                rows["held-out target"] = file.get_tensor("test_target")
            if about["test"] != titles:
                raise BadInput(f"{path}: shows other targets than {args.images[0]}")
            rows[name] = file.get_tensor("test_image")
            fresh[f"fresh: {name}"] = file.get_tensor("fresh")
    image_grid(rows | fresh, titles, args.out)
    return {}


def _some(args: argparse.Namespace, option: str) -> list[str]:
    if not (paths := getattr(args, option)):
        raise BadInput(f"--{option}: --part {args.part} needs it")
    return paths


PARTS = {"table": _table, "curves": _curves, "grid": _grid}
