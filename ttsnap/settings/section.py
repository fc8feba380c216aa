"""What every part of the config has in common."""

import re
import typing
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ttsnap.errors import did_you_mean

Positive = Annotated[int, Field(gt=0, le=10_000_000)]  # more is a slip of the keyboard


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


def nearest(error: dict, model: type[BaseModel]) -> str:
    """ "; did you mean …?" for one of a ValidationError's errors: the nearest key of that section, or choice."""
    *places, last = error["loc"] or ("",)
    if error["type"] == "literal_error":
        return did_you_mean(error["input"], re.findall("'([^']*)'", error["ctx"]["expected"]))
    if error["type"] != "extra_forbidden":
        return ""
    for place in places:
        if place in model.model_fields:
            model = _section_of(model.model_fields[place].annotation) or model
    return did_you_mean(last, model.model_fields)


def _section_of(annotation: object) -> type[BaseModel] | None:
    """The section that an annotation holds: itself, or one of an optional, a union, a list or a table."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_section_of(part) for part in typing.get_args(annotation))
    return next((section for section in found if section), None)
