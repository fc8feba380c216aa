"""The JSON schema of config.yaml and its reference page, written by `python -m ttsnap.settings.page`."""

import json
import typing

from pydantic import BaseModel

from ttsnap.settings.config import Config
from ttsnap.settings.section import MOST, section_of
from ttsnap.storage.files import write_text

BEGIN = """# config.yaml, key by key

Generated from `ttsnap/settings` by `python -m ttsnap.settings.page`; a test fails when the two differ. Each heading
gives the path of its keys, in the order of the config; NAME is a name of your choice. All keys except the required ones
may be left out: the default then applies, and an optional key without one is off, or as its meaning says.
"""


def write() -> None:
    """Write both files of the checkout."""
    write_text("docs/config.md", reference_page())
    write_text("workflow/schemas/config.schema.json", schema_json())


def schema_json() -> str:
    """The JSON schema of config.yaml."""
    return json.dumps(Config.model_json_schema(), indent=1, ensure_ascii=False) + "\n"


def reference_page() -> str:
    """docs/config.md: every key with its type, default and meaning, in the order of the config."""
    lines = [BEGIN]
    for section, places in _places(Config).items():
        heading = ", ".join(filter(None, places)) or "config.yaml"
        lines += [f"## {heading}", "", " ".join(section.__doc__.split()), ""]
        lines += ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
        properties = section.model_json_schema()["properties"]
        for key, field in section.model_fields.items():
            name = _type_name(properties[key])
            lines.append(f"| `{key}` | {name} | {_default(field)} | {field.description or ''} |")
        lines.append("")
    return "\n".join(lines)


def _places(section: type[BaseModel], place: str = "") -> dict[type[BaseModel], list[str]]:
    """The sections of a config in the order of its keys, each with its paths."""
    found = {section: [place]}
    for key, field in section.model_fields.items():
        if inner := section_of(field.annotation):
            name = f"{key}.NAME" if typing.get_origin(field.annotation) is dict else key
            for other, places in _places(inner, f"{place}.{name}".lstrip(".")).items():
                found.setdefault(other, []).extend(places)
    return found


def _default(field) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return "optional" if value is None or isinstance(value, BaseModel) else f"`{json.dumps(value)}`"


def _type_name(field: dict) -> str:
    """A short name of a schema type."""
    if "$ref" in field:
        return "section"
    if "anyOf" in field:
        names = [_type_name(option) for option in field["anyOf"]]
        return " or ".join(name for name in names if name != "null")
    if "const" in field or "enum" in field:
        return " / ".join(f"`{v}`" for v in field.get("enum", [field.get("const")]))
    if field.get("type") == "array":
        return f"list of {_type_name(field['items'])}"
    if field.get("type") == "object":
        values = field.get("additionalProperties") or next(iter(field["patternProperties"].values()))
        return f"name → {_type_name(values)}"
    signs = {"exclusiveMinimum": ">", "minimum": "≥", "maximum": "≤", "exclusiveMaximum": "<"}
    limits = [f"{sign} {field[k]}" for k, sign in signs.items() if field.get(k, MOST) != MOST]
    return " ".join([field["type"], *limits])


if __name__ == "__main__":
    write()
