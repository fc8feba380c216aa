"""The one entry point, `ttsnap COMMAND …`. A command is a module of `ttsnap.commands`."""

import argparse
import importlib
import os
import sys

from ttsnap.errors import BadInput, TtsnapError
from ttsnap.files import write_json

# name: one line of help. The module is ttsnap.commands.<name with _ for ->; it has
# add_arguments(parser) and run(args) -> dict of results (what --json writes).
COMMANDS = {
    "shard": "write one shard of a prompt file",
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
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        results = command_module(args.command).run(args)
        if args.json:
            write_json(args.json, results or {})
    except TtsnapError as error:
        message = " ".join(str(error).split())
        print(f"ttsnap {args.command}: {message}", file=sys.stderr)
        return 2 if isinstance(error, BadInput) else 1
    return 0
