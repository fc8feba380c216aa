"""`ttsnap report-sft`: one part of the report on the second method: table, loss curves or image grids."""

from typing import Literal

from pydantic import Field
from pydantic_settings import CliVariadicArg

from ttsnap.commands.options import Command, InFile, OutFile
from ttsnap.report.sft_parts import SFT_PARTS, make_sft_part

Files = CliVariadicArg[list[InFile]]


class ReportSftOptions(Command):
    """Which part, and what it is made from."""

    part: Literal[*SFT_PARTS] = Field(description="what to make")
    comparison: Files = Field([], description="JSON of `compare-sft` (table)")
    own_models: bool = Field(False, description="each seed has an original model of its own (table)")
    training: Files = Field([], description="train_summary.json below …/SEED/WAY/CYCLE/ (curves)")
    images: Files = Field([], description="images of `compare-sft`, named WAY.CYCLE.safetensors (grid)")
    out: OutFile = Field(description="HTML (table) or PNG")


def run(options: ReportSftOptions) -> dict:
    """Make the part; of the table, print the verdicts and return the figures."""
    paths = options.model_dump(include={"comparison", "training", "images"})
    made = make_sft_part(options.part, paths, options.out, own_models=options.own_models)
    if made:
        print("\n".join(made["sentences"]))
    return made
