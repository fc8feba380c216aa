"""The settings of NegToMe: a part of the config, and an option of `ttsnap generate`."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ttsnap.settings.section import Section


class NegToMe(Section):
    """Pushes the images of a group apart (NegToMe, arXiv 2412.01339), for diversity; null: as published."""

    group: Annotated[int, Field(ge=2)] = Field(
        8, description="candidates in a group, denoised at once; a candidate's image depends on its group"
    )
    alpha: Annotated[float, Field(gt=0)] | None = Field(
        None, description="how far to push: h ← (1+α)·h − α·h_ref; published: FLUX 1.2, SDXL 2.5"
    )
    threshold: Annotated[float, Field(ge=-1, lt=1)] | None = Field(
        None, description="cosine over which a token is pushed; published: FLUX 0.65, SDXL 0.7"
    )
    first: Annotated[float, Field(ge=0, le=1000)] | None = Field(
        None, description="first timestep it acts at; published: FLUX 1000, SDXL 950"
    )
    last: Annotated[float, Field(ge=0, le=1000)] | None = Field(
        None, description="last timestep it acts at; published: FLUX 900, SDXL 800"
    )
    variant: Literal["exact", "published"] = Field(
        "exact",
        description=(
            "exact: each token against its most similar reference token; published: as the published code does it"
        ),
    )

    @model_validator(mode="after")
    def _acts(self):
        if None not in (self.first, self.last) and self.first < self.last:
            raise ValueError(
                f"first {self.first:g} is under last {self.last:g}: timesteps fall, so it would never act;"
                " exchange them"
            )
        return self
