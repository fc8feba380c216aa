"""Read config files, and find which of several holds a key."""

import os
import re
from pathlib import Path

import yaml

from ttsnap.errors import BadInput
from ttsnap.storage.files import parse_json, reading

Part = tuple[str, object]  # the name to show, and its values


class EachKeyOnce(yaml.SafeLoader):
    """A YAML loader that refuses repeated keys, of which YAML silently keeps the last."""

    def compose_mapping_node(self, anchor):
        node, seen = super().compose_mapping_node(anchor), {}
        for key, _ in node.value:
            first = seen.setdefault((key.tag, str(key.value)), key)
            if first is not key:
                at = first.start_mark.line + 1
                raise _Twice(None, None, f"{key.value} stands twice (also in line {at})", key.start_mark)
        return node


class _Twice(yaml.MarkedYAMLError):
    pass


def read_config(path: str | Path) -> object:
    """The content of a YAML or JSON config file.

    Raises BadInput for an unreadable file, and for a repeated key, with its line.
    """
    with reading(path, "cannot be read as YAML"):
        text = Path(path).read_text(encoding="utf-8")
        try:
            return yaml.load(text, Loader=EachKeyOnce)
        except _Twice as error:
            line = error.problem_mark.line + 1
            raise BadInput(f"{path}, line {line}: {error.problem}; join the two") from None
        except yaml.YAMLError as error:
            try:
                return parse_json(text)  # as Snakemake does: JSON allows tabs, YAML does not
            except ValueError as why:
                raise (why if "twice" in str(why) else error) from None


def read_parts(files: list[str | Path], given: dict) -> list[Part]:
    """The contents of config files, weakest first, and of `--config`, each with the name to show."""
    parts = [(_shown(path), read_config(path)) for path in files]
    return [*parts, ("--config", given)] if given else parts


def _shown(path: str | Path) -> str:
    near = os.path.relpath(path)
    return str(path) if near.startswith("..") else near


def at_fault(message: str, parts: list[Part]) -> str:
    """The name of the part that holds the config key that an error message begins with.

    If that is the weakest part, also the parts that hold other keys in the message.
    """
    dotted = r"[\w-]+(?:\.[\w-]+)"
    key = re.match(f"{dotted}*", message)
    weakest = parts[0][0]
    first = (_holder(key[0], parts) if key else None) or weakest
    names = [_holder(other, parts, whole=True) for other in re.findall(f"{dotted}+", message)]
    others = dict.fromkeys(name for name in names if name and name != first)
    return " and ".join([first, *(others if first == weakest else [])])


def _holder(key: str, parts: list[Part], whole: bool = False) -> str | None:
    """The strongest part that holds a dotted key or, unless `whole`, its longest prefix."""
    keys = key.split(".")
    best, name = len(keys) if whole else 1, None
    for part, values in parts:
        depth = _depth(keys, values)
        if depth >= best:
            best, name = depth, part
    return name


def _depth(keys: list[str], values: object) -> int:
    """How many of the nested keys exist."""
    for number, key in enumerate(keys):
        if isinstance(values, list) and key.isdigit() and int(key) < len(values):
            values = values[int(key)]
        elif isinstance(values, dict) and (key in values or key.isdigit() and int(key) in values):
            values = values.get(key, values.get(int(key)) if key.isdigit() else None)
        else:
            return number
    return len(keys)
