"""`ttsnap check`: a checker's objective verdict on every Tweedie image of a shard."""

from pydantic import Field
from pydantic_settings import CliPositionalArg

from ttsnap.commands.options import Command, InFile, OutFile
from ttsnap.settings.kinds import CHECKERS, Checker
from ttsnap.shapes.checkers import check_shard
from ttsnap.storage.image_shards import read_shard
from ttsnap.storage.scores import write_scores


class CheckOptions(Command):
    """The images to judge, and the checker."""

    images: CliPositionalArg[InFile] = Field(description="image shard (HDF5)")
    checker: Checker = Field("shapes", description=f"the judge: {', '.join(CHECKERS)}")
    out: OutFile = Field(description="score file (HDF5): 1 accepted, 0 refused")


def run(options: CheckOptions) -> dict:
    """Judge the shard; return the acceptance of each step."""
    scores = check_shard(read_shard(options.images), options.checker)
    write_scores(options.out, scores)
    return {"steps": scores.looks, "accepted": scores.values.mean((0, 1)).tolist()}
