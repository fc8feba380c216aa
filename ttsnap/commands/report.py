"""Make one part of the report: a figure, a table, the gallery, or the first page with the summary."""

import argparse
from pathlib import Path

from ttsnap.commands.options import in_file, out_path, whole
from ttsnap.errors import BadInput, foreign_content
from ttsnap.pruning.seeds import MOST_CANDIDATES
from ttsnap.storage.files import read_json, reading, write_json, write_text
from ttsnap.storage.tensor import check_tensors, read_tensor, sources


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--part", required=True, choices=PARTS, help="what to make; each says below what it needs"
    )
    parser.add_argument(
        "--tensor", type=in_file, nargs="+", default=[], metavar="FILE",
        help="reward tensors of the test prompts (cost, gallery, summary)",
    )  # fmt: skip
    parser.add_argument(
        "--simulation", type=in_file, nargs="+", default=[], metavar="FILE",
        help="JSON of `simulate` (budget, gain, cost, gallery, summary; tau: to mark the looks)",
    )  # fmt: skip
    parser.add_argument(
        "--alignment", type=in_file, nargs="+", default=[], metavar="FILE",
        help="JSON of `align` (tau, levels; summary)",
    )  # fmt: skip
    parser.add_argument(
        "--level",
        type=in_file,
        nargs="+",
        default=[],
        metavar="FILE",
        help="JSON of `finetune` (levels)",
    )
    parser.add_argument(
        "--schedule",
        type=in_file,
        nargs="+",
        default=[],
        metavar="FILE",
        help="JSON of `fit-schedule` (gain)",
    )
    parser.add_argument(
        "--images",
        type=in_file,
        nargs="+",
        default=[],
        metavar="FILE",
        help="image shards (gallery)",
    )
    parser.add_argument(
        "--comparison", type=in_file, nargs="+", default=[], metavar="FILE",
        help="JSON of `compare-search` (search)",
    )  # fmt: skip
    parser.add_argument(
        "--figure", type=in_file, metavar="FILE", help="PNG on the first page (summary)"
    )
    parser.add_argument("--prompts", type=whole(1, 1000), default=6, help="prompts of the gallery")
    parser.add_argument(
        "--candidates",
        type=whole(1, MOST_CANDIDATES),
        default=6,
        help="its budget, in candidates of best-of-N",
    )
    parser.add_argument(
        "--out", type=out_path, required=True, metavar="FILE",
        help="PNG or HTML; for the summary a folder for summary.json, headline.txt, overview.html",
    )  # fmt: skip


def run(args: argparse.Namespace) -> dict:
    wanted = "folder" if args.part == "summary" else "file"
    if Path(args.out).exists() and Path(args.out).is_dir() != (wanted == "folder"):
        raise BadInput(f"--out: {args.out}: --part {args.part} writes a {wanted}; name another")
    with foreign_content(_files(args), "what ttsnap wrote", "make them again with this version"):
        return PARTS[args.part](args)


def _files(args: argparse.Namespace) -> str:
    """The JSON files given, for a message."""
    paths = [path for option in WRITTEN_BY for path in getattr(args, option)]
    return ", ".join(paths[:3]) + (", …" if paths[3:] else "")


def _budget(args: argparse.Namespace) -> dict:
    from ttsnap.report.figures import reward_against_budget

    reward_against_budget(_one(args, "simulation"), args.out)
    return {}


def _tau(args: argparse.Namespace) -> dict:
    from ttsnap.report.figures import tau_per_step

    looks, alignment = [], _one(args, "alignment")
    if args.simulation:
        simulation = _one(args, "simulation")
        _check_made_from(args.alignment[0], alignment, args.simulation[0], simulation["made_from"])
        looks = simulation["schedules"]["ttsnap"]["steps"]
    tau_per_step(alignment, args.out, looks)
    return {}


def _cost(args: argparse.Namespace) -> dict:
    from ttsnap.report.tables import cost_table

    tensors = [read_tensor(path) for path in _some(args, "tensor")]
    simulation = _one(args, "simulation")
    _check_made_from(args.simulation[0], simulation, args.tensor[0], sources(tensors))
    return _page(args, "cost", cost_table(simulation, tensors))


def _levels(args: argparse.Namespace) -> dict:
    from ttsnap.report.tables import levels_table

    levels, alignment = [_read(path, "level") for path in args.level], _one(args, "alignment")
    versions = alignment["level_versions"].split(",")
    for path, level in zip(args.level, levels, strict=True):
        if level["level"] in alignment["levels"] and (
            f"{level['level']}:{level['version']}" not in versions
        ):
            raise BadInput(f"{path}: of other weights than {args.alignment[0]} was made with")
    return _page(args, "levels", levels_table(alignment, levels))


def _gain(args: argparse.Namespace) -> dict:
    from ttsnap.report.tables import gain_table

    schedules, simulation = (
        [_read(path, "schedule") for path in args.schedule],
        _one(args, "simulation"),
    )
    for path, fit in zip(args.schedule, schedules, strict=True):
        if fit["schedule"] != simulation["schedules"].get(fit["settings"]["method"]):
            raise BadInput(f"{path}: not the schedule that {args.simulation[0]} was made with")
    return _page(args, "gain", gain_table(simulation, schedules))


def _gallery(args: argparse.Namespace) -> dict:
    from ttsnap.report.gallery import gallery
    from ttsnap.storage.image_shards import read_shards

    shards = read_shards(_some(args, "images"))
    tensor, simulation = read_tensor(_some(args, "tensor")[0]), _one(args, "simulation")
    _check_made_from(args.simulation[0], simulation, args.tensor[0], sources([tensor]))
    shown = gallery(tensor, shards, simulation, args.prompts, args.candidates)
    _page(args, "gallery", shown)
    return shown["outcome"]


def _summary(args: argparse.Namespace) -> dict:
    from ttsnap.report.pages import png_uri, render
    from ttsnap.report.summary import headline, summarise_run, verdict

    tensors = [read_tensor(path) for path in _some(args, "tensor")]
    simulations = [_read(path, "simulation") for path in _some(args, "simulation")]
    alignments = [_read(path, "alignment") for path in args.alignment]
    check_tensors(tensors)
    results = zip([*args.simulation, *args.alignment], [*simulations, *alignments], strict=True)
    for path, result in results:
        _check_made_from(path, result, "the tensors given", sources(tensors))
    summary = summarise_run(tensors, simulations, alignments)
    verdicts = {name: verdict(search) for name, search in summary["searches"].items()}
    figure = None
    if args.figure:
        with reading(args.figure, "cannot be read"):
            figure = png_uri(Path(args.figure).read_bytes())
    page = render("overview", **summary, verdicts=verdicts, figure=figure)
    lines = "\n".join(headline(summary))
    folder = Path(args.out)
    write_text(folder / "overview.html", page)
    write_text(folder / "headline.txt", lines + "\n")
    write_json(folder / "summary.json", summary)
    print(lines)
    return summary


def _search(args: argparse.Namespace) -> dict:
    from ttsnap.report.searches import search_page

    return _page(args, "search", search_page(_one(args, "comparison")))


def _check_made_from(path: str, result: dict, other: str, known: list[dict]) -> None:
    """Raise BadInput unless a result was computed from tensors that are `known`."""
    for source in result["made_from"]:
        if source not in known:
            raise BadInput(
                f"{path}: made from another tensor of {source['reward']} than {other}; run it again on that one"
            )


def _page(args: argparse.Namespace, template: str, values: dict) -> dict:
    from ttsnap.report.pages import render

    write_text(args.out, render(template, **values))
    return {}


def _some(args: argparse.Namespace, option: str) -> list[str]:
    if not (paths := getattr(args, option)):
        raise BadInput(f"--{option}: --part {args.part} needs it; see `ttsnap report --help`")
    return paths


def _one(args: argparse.Namespace, option: str) -> dict:
    paths = _some(args, option)
    if len(paths) > 1:
        raise BadInput(f"--{option}: --part {args.part} takes one file, not {len(paths)}")
    return _read(paths[0], option)


def _read(path: str, option: str) -> dict:
    command, keys = WRITTEN_BY[option]
    content = read_json(path)
    if not isinstance(content, dict) or not keys <= set(content):
        raise BadInput(f"{path}: not what `ttsnap {command} --json` writes; --{option} takes that")
    return content


WRITTEN_BY = {
    "simulation": ("simulate", {"methods", "gain", "schedules", "settings", "made_from"}),
    "alignment": ("align", {"reward", "steps", "levels", "level_versions", "made_from"}),
    "level": ("finetune", {"level", "kept", "version"}),
    "comparison": ("compare-search", {"rows", "differing", "compared"}),
    "schedule": ("fit-schedule", {"schedule", "gain", "settings"}),
}
PARTS = {
    "budget": _budget,
    "tau": _tau,
    "cost": _cost,
    "levels": _levels,
    "gain": _gain,
    "gallery": _gallery,
    "search": _search,
    "summary": _summary,
}
