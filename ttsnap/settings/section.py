"""The base of all config sections and command options: typed keys, and one wording of errors."""

import re
import typing
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ttsnap.errors import did_you_mean

MOST = 10_000_000  # largest count; more is a typing error
Positive = Annotated[int, Field(gt=0, le=MOST)]
Count = Annotated[int, Field(ge=0, le=MOST)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Side = Annotated[int, Field(gt=0, le=16_384)]

# Messages by the type of pydantic's error; for other types, pydantic's own message.
FAULTS = {
    "int_parsing": "is not a whole number",
    "int_type": "is not a whole number",
    "int_from_float": "is not a whole number",
    "float_parsing": "is not a number",
    "float_type": "is not a number",
    "finite_number": "is not finite",
    "string_type": "is not a text",
    "list_type": "is not a list",
    "greater_than_equal": "is too small; give {ge:g} or more",
    "greater_than": "is too small; give more than {gt:g}",
    "less_than_equal": "is too large; give {le:g} or less",
    "less_than": "is too large; give less than {lt:g}",
    "literal_error": "is not one of {expected}",
}


class Section(BaseModel):
    """Typed keys: refuses unknown ones, and true, false and infinity in place of a number."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_not_1(cls, value, info):
        annotation = cls.model_fields[info.field_name].annotation
        if isinstance(value, bool) and bool not in (annotation, *typing.get_args(annotation)):
            raise ValueError(f"{str(value).lower()} makes no sense here")
        return value


def first_fault(error: ValidationError, model: type[BaseModel]) -> tuple[list[str], str]:
    """The place (nested keys) and message of the first error in the values of `model`."""
    # Wrong values come before missing ones; in "fit or a schedule", an error of the schedule says more than not being
    # "fit".
    errors = sorted(error.errors(), key=lambda e: e["type"] == "missing")
    telling = [e for e in errors if e["type"] != "model_type" and "literal['fit']" not in e["loc"]]
    first = (telling or errors)[0]
    # Drop parts that name an alternative of a union: a function[…] or a class.
    place = [str(part) for part in first["loc"] if not re.search(r"[\[\(]|^[A-Z]", str(part))]
    kind, value = first["type"], str(first["input"])[:60]
    if kind == "value_error":
        return place, str(first["ctx"]["error"])
    if kind == "missing":
        return place, "is missing; give it"
    if kind == "too_short":
        return place, f"give {first['ctx']['min_length']} or more"
    near = _nearest(first, model)
    if kind == "extra_forbidden":
        return place, f"unknown key{near}"
    if kind in FAULTS:
        limits = dict(first.get("ctx", {}))
        if "expected" in limits:
            limits["expected"] = ", ".join(_choices(first))
        return place, f"{value!r} {FAULTS[kind].format(**limits)}{near}"
    return place, f"{first['msg']}, got {value!r}{near}"


def _choices(error: dict) -> list[str]:
    return re.findall("'([^']*)'", error["ctx"]["expected"])


def _nearest(error: dict, model: type[BaseModel]) -> str:
    """ "; did you mean …?" for an error: the nearest key of that section, or choice."""
    *places, last = error["loc"] or ("",)
    if error["type"] == "literal_error":
        return did_you_mean(error["input"], _choices(error))
    if error["type"] != "extra_forbidden":
        return ""
    for place in places:
        if place in model.model_fields:
            model = section_of(model.model_fields[place].annotation) or model
    return did_you_mean(last, model.model_fields)


def section_of(annotation: object) -> type[BaseModel] | None:
    """The section class in an annotation: the class itself, or in an optional, a union, a list or a table."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (section_of(part) for part in typing.get_args(annotation))
    return next((section for section in found if section), None)
