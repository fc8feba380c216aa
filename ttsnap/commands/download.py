"""`ttsnap download`: fetch published models, rewards and data sets, resumed and checked."""

import argparse
import dataclasses
from pathlib import Path

from ttsnap.commands.options import out_folder, refuse_beside
from ttsnap.errors import BadInput, TtsnapError
from ttsnap.models.assets import DATA, DATA_SETS, HPS_FILES, MODELS, NAMES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--only",
        action="append",
        choices=NAMES,
        metavar="NAME",
        help=f"fetch this one; repeatable; one of {', '.join(NAMES)}. None: all",
    )
    parser.add_argument("--hps-version", choices=HPS_FILES, default="v2.1", help="HPSv2's weights")
    parser.add_argument(
        "--out",
        type=out_folder,
        help=f"folder for them, one subfolder each; if not given, {MODELS}, and {DATA} for data sets",
    )
    parser.add_argument(
        "--from", dest="address", help="another address of the data set, ending in /"
    )
    parser.epilog = (
        "HF_TOKEN: your token of huggingface.co, for models with a licence to accept (FLUX.1-dev)."
    )


def run(args: argparse.Namespace) -> dict:
    """Fetch what is missing or wrong; return the files of each asset."""
    from ttsnap.models.assets import home, sources
    from ttsnap.models.fetch import fetch, listing, unpack

    names = list(dict.fromkeys(args.only or NAMES))
    if "HPSv2" not in names:
        refuse_beside(args, "without HPSv2", "--hps-version")
    if args.address and not (len(names) == 1 and names[0] in DATA_SETS):
        raise BadInput("--from: goes with --only and one data set")
    report = {}
    for name in names:
        folder = Path(args.out) / name if args.out else home(name)
        wanted = sources(name, args.hps_version)
        if args.address:
            wanted = [dataclasses.replace(source, address=args.address) for source in wanted]
        try:
            remotes = [remote for source in wanted for remote in listing(source)]
        except TtsnapError as error:
            raise type(error)(f"{name}: {_state(folder)}; {error}") from None
        new = [remote.name for remote in remotes if fetch(remote, folder / remote.name)]
        for remote in remotes:
            if remote.name.endswith(".tar.gz"):
                unpack(folder / remote.name)
        print(f"{name}: {len(remotes)} files right in {folder}, {len(new)} of them fetched now")
        report[name] = {"folder": str(folder), "files": [r.name for r in remotes], "fetched": new}
    return report


def _state(folder: Path) -> str:
    """What is there of an asset, for a message when its host cannot be asked."""
    count = sum(1 for p in folder.rglob("*") if p.is_file()) if folder.is_dir() else 0
    return f"{count} files in {folder}, not checked" if count else f"nothing in {folder}"
