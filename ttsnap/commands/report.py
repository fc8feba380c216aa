"""`ttsnap report`: one part of the report: a figure, a table, the gallery, or the first page with the summary."""

from typing import Literal

from pydantic import Field
from pydantic_settings import CliVariadicArg

from ttsnap.commands.options import Command, Filled, InFile, OutPath
from ttsnap.pruning.seeds import MOST_CANDIDATES
from ttsnap.report.parts import HEADLINE, OVERVIEW, PARTS, SUMMARY, make_part
from ttsnap.report.summary import headline
from ttsnap.settings.report import Report

Files = CliVariadicArg[list[InFile]]
FILES = ("tensor", "simulation", "alignment", "level", "schedule", "images", "comparison")


class ReportOptions(Command):
    """Which part, what it is made from, and where it goes."""

    part: Literal[*PARTS] = Field(description="what to make; each option says which parts it is for")
    tensor: Files = Field([], description="reward tensors of the test prompts (cost, gallery, summary)")
    simulation: Files = Field(
        [], description="JSON of `simulate` (budget, gain, cost, gallery, summary; tau: to mark the looks)"
    )
    alignment: Files = Field([], description="JSON of `align` (tau, levels; summary)")
    level: Files = Field([], description="JSON of `finetune` (levels)")
    schedule: Files = Field([], description="JSON of `fit-schedule` (gain)")
    images: Files = Field([], description="image shards (gallery)")
    comparison: Files = Field([], description="JSON of `compare-search` (search)")
    figure: InFile | None = Field(None, description="PNG on the first page (summary)")
    prompts: int = Field(Report().gallery, gt=0, le=1000, description="prompts of the gallery")
    candidates: int = Field(
        Report().gallery_candidates,
        gt=0,
        le=MOST_CANDIDATES,
        description="budget of the gallery, in candidates of best-of-N",
    )
    out: OutPath = Field(description=f"PNG or HTML; for the summary a folder for {SUMMARY}, {HEADLINE}, {OVERVIEW}")

    def filled(self) -> Filled | None:
        """The summary goes into a folder that holds other parts too."""
        if self.part != "summary":
            return None
        return Filled((), None, (OVERVIEW, HEADLINE, SUMMARY))


def run(options: ReportOptions) -> dict:
    """Make the part; of the summary, print the headline figures."""
    paths = {name: getattr(options, name) for name in FILES}
    paths["figure"] = [options.figure] if options.figure else []
    made = make_part(options.part, paths, options.out, prompts=options.prompts, candidates=options.candidates)
    if options.part == "summary":
        print("\n".join(headline(made)))
    return made
