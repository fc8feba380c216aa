"""The one entry point, `ttsnap COMMAND …`. A command is a module of `ttsnap.commands`."""

import contextlib
import importlib
import os
import sys
import typing
from collections.abc import Callable, Mapping, Sequence

from ttsnap import __version__
from ttsnap.commands.allocator import keep_freed_memory
from ttsnap.commands.console import flush, outcome, plain_streams, plain_warnings
from ttsnap.commands.folders import check_outputs, claimed
from ttsnap.commands.options import Command
from ttsnap.errors import BadInput, TtsnapError
from ttsnap.settings.command_line import Parser, add_options, read_options
from ttsnap.storage.files import write_json

# name: one line of help. The module is ttsnap.commands.<name with _ for ->; its `run` takes the command's options, a
# typed model, and returns what --json writes.
COMMANDS = {
    "shard": "write one shard of a prompt file",
    "generate": "make the Tweedie images of every candidate of a shard",
    "label": "give every candidate of a shard the base reward of its final image",
    "finetune": "finetune a reward for one noise level, starting from the level before",
    "score": "read every Tweedie image of a shard with one reward",
    "check": "judge every Tweedie image of a shard with an objective checker",
    "tensor": "join scored shards into one reward tensor (HDF5)",
    "align": "measure how well each step's reward ranks the final images",
    "simulate": "run best-of-N, TTSp, TTSnap, oracle and random pruning on a reward tensor",
    "fit-schedule": "fit the pruning schedule that gains most on some prompts, report it on others",
    "search": "find the best image of each prompt within a budget, dropping weak candidates early",
    "compare-search": "compare real searches with what the simulation predicted",
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
    "download": "fetch published models, rewards and data sets, resumed and checked",
    "cost": "count the FLOP of a denoising step, a decode and a reward, from configs alone",
}


def options_of(name: str, package: str = "ttsnap.commands") -> tuple[Callable, type[Command]]:
    """The function behind a command, and the model of its options."""
    run = importlib.import_module(f"{package}.{name.replace('-', '_')}").run
    return run, typing.get_type_hints(run)["options"]


def parse(
    argv: Sequence[str], commands: Mapping[str, str] = COMMANDS, package: str = "ttsnap.commands"
) -> tuple[str, Command]:
    """The command of a command line, and its options. Raises BadInput when something is wrong with them.

    Only the chosen command's module is imported, so that --help stays fast.
    """
    chosen = next((word for word in argv if not word.startswith("-")), None)
    parser = Parser(prog="ttsnap", description=__doc__)
    parser.add_argument("--version", action="version", version=f"ttsnap {__version__}")
    parsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, summary in commands.items():
        subparser = parsers.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        if name == chosen:
            add_options(subparser, options_of(name, package)[1])
    found = parser.parse_args(argv)
    return found.command, read_options(found, options_of(found.command, package)[1])


def main(
    argv: Sequence[str] | None = None, commands: Mapping[str, str] = COMMANDS, package: str = "ttsnap.commands"
) -> int:
    """Run one command. Returns 0, or with one line on stderr 1 (failed), 2 (bad input) or 130 (interrupted).

    commands: name → line of help. package: the package of their modules.
    """
    argv = sys.argv[1:] if argv is None else argv
    with plain_streams(), plain_warnings():
        try:
            with contextlib.suppress(SystemExit):  # --help, --version
                _run(argv, commands, package)
            flush()
            return 0
        except (Exception, KeyboardInterrupt) as error:
            status, line = outcome(error)
        # Printed once the error is gone, and with it every progress bar that it held open.
        chosen = next((word for word in argv if not word.startswith("-")), None)
        name = f"ttsnap {chosen}" if chosen in commands else "ttsnap"
        print(f"{name}: {' '.join(line.split())}", file=sys.stderr)
        with contextlib.suppress(TtsnapError):
            flush()
        return status


def _run(argv: Sequence[str], commands: Mapping[str, str], package: str) -> None:
    """Parse the command line and run the command."""
    for number, word in enumerate(argv, start=1):
        if any("\ud800" <= letter <= "\udfff" for letter in word):
            raise BadInput(f"argument {number}: {ascii(word)} is not UTF-8")
    command, options = parse(argv, commands, package)
    keep_freed_memory()
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    check_outputs(options)
    with claimed(command, options):
        results = options_of(command, package)[0](options)
    if options.json_file and results is not None:
        write_json(options.json_file, results)
