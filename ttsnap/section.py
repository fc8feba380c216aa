"""What every part of the config has in common."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

Positive = Annotated[int, Field(gt=0)]


class Section(BaseModel):
    """A part of the config: unknown keys are refused, and true, false, infinity where a number stands."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False
    )

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_not_1(cls, value, info):
        if isinstance(value, bool) and cls.model_fields[info.field_name].annotation is not bool:
            raise ValueError(
                f"{str(value).lower()} makes no sense here; give what docs/config.md says"
            )
        return value
