"""The one entry point, `ttsnap COMMAND …`. A command is a module of `ttsnap.commands`."""

import argparse
import importlib
import os
import sys

from ttsnap.allocator import keep_freed_memory
from ttsnap.commands.limits import check_counts
from ttsnap.errors import BadInput, TtsnapError
from ttsnap.files import write_json
from ttsnap.folders import check_outputs, claimed

# name: one line of help. The module is ttsnap.commands.<name with _ for ->; it has
# add_arguments(parser) and run(args) -> dict of results (what --json writes).
COMMANDS = {
    "shard": "write one shard of a prompt file",
    "generate": "make the Tweedie images of every candidate of one shard",
    "label": "give every candidate of a shard the base reward of its final image",
    "finetune": "finetune a reward for one noise level, starting from the level before",
    "score": "read every Tweedie image of a shard with one reward",
    "check": "judge every Tweedie image of a shard by an objective checker",
    "tensor": "join scored shards into one reward tensor (HDF5)",
    "align": "say how well each step's reward ranks the final images",
    "simulate": "run best-of-N, TTSp, TTSnap, oracle and random pruning on a reward tensor",
    "fit-schedule": "fit the pruning schedule that gains most on some prompts, report it on others",
    "search": "find the best image of each prompt within a budget, dropping weak candidates early",
    "compare-search": "set real searches beside what the simulation foretold of them",
    "import-images": "turn a tree of images p0000/id000/s00.png into an image shard",
    "export-images": "write the images of shards as files p0000/id000/s00.png",
    "import-values": "turn published reward values (YAML) into a reward tensor",
    "report": "make one part of the report: a figure, a table, the gallery or the first page",
    "assign": "give each target image the noise that a one-step generator maps closest to it",
    "sft": "finetune a one-step generator on targets with assigned or with random noise",
    "optimize-noise": "find the noise of a prompt whose one-step image has the highest reward",
    "noise-theory": "check that a fixed orthogonal map leaves Gaussian noise Gaussian",
    "train-gan": "train a class-conditional one-step generator (GAN) on a data set of images",
    "train-classifier": "train the judge of generated images on a data set",
    "compare-sft": "measure a generator on train and held-out targets, fresh samples and drift",
    "report-sft": "join comparisons over seeds into table, curves and image grids",
    "draw-shapes": "draw pictures of the shapes world with their captions (pairs.jsonl)",
    "train-shapes": "train one of the embedded models of the shapes world again",
    "download": "fetch published models, rewards and data sets, resumed and checked",
    "cost": "count the FLOP of a denoising step, a decode and a reward, from configs alone",
}


def command_module(name: str):
    """Import the module behind a command."""
    return importlib.import_module(f"ttsnap.commands.{name.replace('-', '_')}")


def build_parser(chosen: str | None = None) -> argparse.ArgumentParser:
    """The argument parser; only the chosen command's module is imported, so that --help stays fast."""
    parser = argparse.ArgumentParser(prog="ttsnap", description=__doc__)
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, summary in COMMANDS.items():
        sub = subparsers.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        if name == chosen:
            command_module(name).add_arguments(sub)
            sub.add_argument("--json", metavar="FILE", help="write the results as JSON to FILE")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one command. Returns 0, 1 (failed) or 2 (bad input: one line on stderr)."""
    argv = sys.argv[1:] if argv is None else argv
    chosen = next((word for word in argv if not word.startswith("-")), None)
    args = build_parser(chosen).parse_args(argv)
    keep_freed_memory()
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    try:
        check_counts(args)
        check_outputs(args)
        with claimed(args):
            results = command_module(args.command).run(args)
        if args.json:
            write_json(args.json, results or {})
    except TtsnapError as error:
        message = " ".join(str(error).split())
        print(f"ttsnap {args.command}: {message}", file=sys.stderr)
        return 2 if isinstance(error, BadInput) else 1
    return 0
