"""`ttsnap download`: fetch published models, rewards and data sets, resumed and checked."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from ttsnap.commands.options import Command, OutFolder, refuse_beside
from ttsnap.errors import BadInput
from ttsnap.models.assets import ASSET_NAMES, DATA, DATA_SETS, HPS_FILES, HPS_VERSION, MODELS


class DownloadOptions(Command):
    """What to fetch, and where to put it."""

    only: list[Literal[ASSET_NAMES]] = Field(
        [],
        description=f"fetch only this; repeatable; one of {', '.join(ASSET_NAMES)}; default: all. For models with a "
        "licence to accept (FLUX.1-dev), set HF_TOKEN to your token of huggingface.co",
    )
    hps_version: Literal[tuple(HPS_FILES)] = Field(HPS_VERSION, description="HPSv2's weights")
    out: OutFolder | None = Field(
        None, description=f"folder for them, one subfolder each; default: {MODELS}, and {DATA} for data sets"
    )
    address: str | None = Field(
        None, validation_alias="from", description="another address of the data set, ending in /"
    )


def run(options: DownloadOptions) -> dict:
    """Fetch what is missing or wrong; return the files of each asset."""
    names = list(dict.fromkeys(options.only or ASSET_NAMES))
    if "HPSv2" not in names:
        refuse_beside(options, "without HPSv2", "hps_version")
    if options.address and not (len(names) == 1 and names[0] in DATA_SETS):
        raise BadInput("--from: goes with --only and one data set")
    from ttsnap.models.fetch import fetch_asset

    report = {}
    for name in names:
        folder = Path(options.out) / name if options.out else None
        found = fetch_asset(name, folder, options.hps_version, options.address)
        count, fetched = len(found["files"]), len(found["fetched"])
        print(f"{name}: {count} files in {found['folder']}, {fetched} of them fetched now")
        report[name] = found
    return report
