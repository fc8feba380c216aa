"""`ttsnap draw-shapes`: pictures of the shapes world with their captions, as pairs for the second method."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ttsnap.commands.options import Command, Filled, OutFolder
from ttsnap.settings.section import Seed
from ttsnap.settings.sft import MOST_IMAGES


class DrawShapesOptions(Command):
    """The pictures and their number."""

    fills: ClassVar = Filled()

    out: OutFolder = Field(description="folder for pairs.jsonl and images")
    count: Annotated[int, Field(ge=1, le=MOST_IMAGES)] = Field(256, description="pictures")
    part: Literal["train", "held_out"] = Field("train", description="captions to draw from")
    seed: Seed = Field(0, description="seed of captions and pictures")


def run(options: DrawShapesOptions) -> dict:
    """Draw one to three objects in turn; write the images, then pairs.jsonl."""
    from ttsnap.shapes.pairs import draw_pairs

    draw_pairs(options.out, options.count, options.part, options.seed)
    return {"pairs": options.count, "file": str(Path(options.out) / "pairs.jsonl")}
