"""`ttsnap download`: fetch published models and rewards into models/, resumed and checked."""

import argparse
from pathlib import Path

from ttsnap.assets import ASSETS, HPS_FILES, MODELS
from ttsnap.errors import BadInput, TtsnapError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--only",
        action="append",
        metavar="NAME",
        help=f"fetch this one; repeatable; one of {', '.join(ASSETS)}. None: all",
    )
    parser.add_argument("--hps-version", choices=HPS_FILES, default="v2.1", help="HPSv2's weights")
    parser.add_argument("--out", default=str(MODELS), help="folder for them, one subfolder each")
    parser.epilog = (
        "HF_TOKEN: your token of huggingface.co, for models with a licence to accept (FLUX.1-dev)."
    )


def run(args: argparse.Namespace) -> dict:
    """Fetch what is missing or wrong; return the files of each asset."""
    from ttsnap.assets import sources
    from ttsnap.fetch import fetch, listing

    names = list(dict.fromkeys(args.only or ASSETS))
    for name in names:
        if name not in ASSETS:
            raise BadInput(f"--only: {name!r} is none of {', '.join(ASSETS)}")
    report = {}
    for name in names:
        folder = Path(args.out) / name
        try:
            remotes = [r for source in sources(name, args.hps_version) for r in listing(source)]
        except TtsnapError as error:
            raise type(error)(f"{name}: {_state(folder)}; {error}") from None
        new = [remote.name for remote in remotes if fetch(remote, folder / remote.name)]
        print(f"{name}: {len(remotes)} files right in {folder}, {len(new)} of them fetched now")
        report[name] = {"folder": str(folder), "files": [r.name for r in remotes], "fetched": new}
    return report


def _state(folder: Path) -> str:
    """What is there of an asset, for a message when its host cannot be asked."""
    count = sum(1 for p in folder.rglob("*") if p.is_file()) if folder.is_dir() else 0
    return f"{count} files in {folder}, not checked" if count else f"nothing in {folder}"
