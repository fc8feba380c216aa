"""The `report` section of the config."""

from typing import Annotated

from pydantic import Field

from ttsnap.settings.section import Section


class Report(Section):
    """What the report shows."""

    gallery: Annotated[int, Field(ge=0)] = Field(6, description="test prompts shown as Tweedie strips")
    gallery_candidates: Annotated[int, Field(ge=2)] = Field(
        6, description="budget of the gallery, in candidates of best-of-N"
    )
