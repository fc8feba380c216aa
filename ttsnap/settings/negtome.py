"""The settings of NegToMe, in the config and in `ttsnap generate`."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ttsnap.settings.section import Section


class NegToMe(Section):
    """Push the images of a group apart, for diversity (NegToMe, arXiv 2412.01339); null: the published value."""

    group: Annotated[int, Field(ge=2)] = Field(
        8, description="candidates per group, denoised at once; an image depends on its group"
    )
    alpha: Annotated[float, Field(gt=0)] | None = Field(
        None, description="how far to push: h ← (1+α)·h − α·h_ref; published: FLUX 1.2, SDXL 2.5"
    )
    threshold: Annotated[float, Field(ge=-1, lt=1)] | None = Field(
        None, description="cosine similarity above which a token is pushed; published: FLUX 0.65, SDXL 0.7"
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
            "exact: push each token from its most similar reference token; published: as in the published code"
        ),
    )

    @model_validator(mode="after")
    def _acts(self):
        if None not in (self.first, self.last) and self.first < self.last:
            raise ValueError(
                f"first {self.first:g} is under last {self.last:g}: timesteps descend, so it would never act; swap them"
            )
        return self
