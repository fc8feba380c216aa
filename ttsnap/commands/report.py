"""`ttsnap report`: one part of the report: a figure, a table, the gallery, or the first page with the summary."""

from typing import Literal

from pydantic import Field

from ttsnap.commands.options import Command, Filled, InFile, InFiles, OutPath
from ttsnap.pruning.seeds import MOST_CANDIDATES
from ttsnap.report.parts import HEADLINE, OVERVIEW, PARTS, SUMMARY, make_part
from ttsnap.report.summary import headline
from ttsnap.settings.report import Report

INPUTS = ("tensor", "own", "simulation", "alignment", "level", "schedule", "images", "comparison")


class ReportOptions(Command):
    """The part, its input files, and where it goes."""

    part: Literal[*PARTS] = Field(description="what to make; the parts that use an option stand in brackets")
    tensor: InFiles = Field([], description="reward tensors of the test prompts (cost, gallery, summary)")
    own: InFiles = Field(
        [], description="reward tensors of this run, where those under --tensor are of a reference run (summary)"
    )
    simulation: InFiles = Field(
        [], description="JSON of `simulate` (budget, gain, cost, gallery, summary; tau: to mark the looks)"
    )
    alignment: InFiles = Field([], description="JSON of `align` (tau, levels; summary)")
    level: InFiles = Field([], description="JSON of `finetune` (levels)")
    schedule: InFiles = Field([], description="JSON of `fit-schedule` (gain)")
    images: InFiles = Field([], description="image shards (gallery)")
    comparison: InFiles = Field([], description="JSON of `compare-search` (search)")
    figure: InFile | None = Field(None, description="PNG for the first page (summary)")
    prompts: int = Field(Report().gallery, gt=0, le=1000, description="prompts of the gallery")
    candidates: int = Field(
        Report().gallery_candidates,
        gt=0,
        le=MOST_CANDIDATES,
        description="budget of the gallery in best-of-N candidates",
    )
    out: OutPath = Field(description=f"PNG or HTML; for the summary a folder for {SUMMARY}, {HEADLINE}, {OVERVIEW}")

    def filled(self) -> Filled | None:
        """The summary goes into a folder that holds other parts too."""
        return Filled((), None, (OVERVIEW, HEADLINE, SUMMARY)) if self.part == "summary" else None


def run(options: ReportOptions) -> dict:
    """Make the part; for the summary, print the headline figures."""
    paths = {name: getattr(options, name) for name in INPUTS}
    paths["figure"] = [options.figure] if options.figure else []
    made = make_part(options.part, paths, options.out, prompts=options.prompts, candidates=options.candidates)
    if options.part == "summary":
        print("\n".join(headline(made)))
    return made
