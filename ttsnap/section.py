"""What every part of the config has in common."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[int, Field(gt=0)]


class Section(BaseModel):
    """A part of the config: unknown keys are refused, a default is checked like a given value."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())
