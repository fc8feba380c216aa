"""The JSON schema of config.yaml and its reference page, written by `python -m ttsnap.settings.page`."""

import json

from ttsnap.settings.config import Config
from ttsnap.storage.files import write_text


def write() -> None:
    """Write both to their places in the checkout."""
    write_text("docs/config.md", reference_page())
    write_text("workflow/schemas/config.schema.json", schema_json())


def schema_json() -> str:
    """The JSON schema of config.yaml."""
    return json.dumps(Config.model_json_schema(), indent=1, ensure_ascii=False) + "\n"


def reference_page() -> str:
    """docs/config.md: every key with its type, default and meaning."""
    schema = Config.model_json_schema()
    lines = [
        "# config.yaml, key by key",
        "",
        "Made from `ttsnap/settings` by `python -m ttsnap.settings.page`; a test fails when the two differ.",
        "",
    ]
    for name, section in {"config.yaml": schema, **schema["$defs"]}.items():
        lines += [
            f"## {name}",
            "",
            section["description"],
            "",
            "| key | type | default | meaning |",
        ]
        lines += ["| --- | --- | --- | --- |"]
        for key, field in section["properties"].items():
            required = key in section.get("required", ())
            default = "required" if required else f"`{json.dumps(field.get('default', {}))}`"
            lines.append(
                f"| `{key}` | {_type_name(field)} | {default} | {field.get('description', '')} |"
            )
        lines.append("")
    return "\n".join(lines)


def _type_name(field: dict) -> str:
    """A schema type in a few words."""
    if "$ref" in field:
        return field["$ref"].rsplit("/", 1)[1]
    if "anyOf" in field:
        return " or ".join(_type_name(option) for option in field["anyOf"])
    if "const" in field or "enum" in field:
        return " / ".join(f"`{v}`" for v in field.get("enum", [field.get("const")]))
    if field.get("type") == "array":
        return f"list of {_type_name(field['items'])}"
    if field.get("type") == "object":
        values = field.get("additionalProperties") or next(
            iter(field["patternProperties"].values())
        )
        return f"name → {_type_name(values)}"
    limits = {"exclusiveMinimum": ">", "minimum": "≥", "maximum": "≤", "exclusiveMaximum": "<"}
    return " ".join(
        [field["type"], *(f"{sign} {field[k]}" for k, sign in limits.items() if k in field)]
    )


if __name__ == "__main__":
    write()
