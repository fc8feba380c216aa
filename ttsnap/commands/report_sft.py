"""`ttsnap report-sft`: one part of the report on the second method: table, loss curves or image grids."""

from typing import Literal

from pydantic import Field

from ttsnap.commands.options import Command, InFiles, OutFile
from ttsnap.report.sft_parts import SFT_PARTS, make_sft_part


class ReportSftOptions(Command):
    """The part, and its input files."""

    part: Literal[*SFT_PARTS] = Field(description="what to make")
    comparison: InFiles = Field([], description="JSON of `compare-sft` (table)")
    own_models: bool = Field(False, description="each seed has its own original model (table)")
    training: InFiles = Field([], description="train_summary.json below …/SEED/WAY/CYCLE/ (curves)")
    images: InFiles = Field([], description="images of `compare-sft`, named WAY.CYCLE.safetensors (grid)")
    out: OutFile = Field(description="HTML (table) or PNG")


def run(options: ReportSftOptions) -> dict:
    """Make the part; for the table, print the verdicts and return the figures."""
    paths = options.model_dump(include={"comparison", "training", "images"})
    made = make_sft_part(options.part, paths, options.out, own_models=options.own_models)
    if made:
        print("\n".join(made["sentences"]))
    return made
