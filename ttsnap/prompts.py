"""Prompt files: reading any of the four formats, and cutting the list into shards."""

import csv
import io
import json
import re
from pathlib import Path

from ttsnap.errors import BadInput, reads

UNUSABLE = re.compile("[\0\ud800-\udfff]")  # no file system and no UTF-8 holds them


def read_prompts(path: str | Path) -> list[str]:
    """The distinct prompts of a file, in its order, without surrounding white space.

    Blank entries and repetitions are left out. Raises BadInput as `read_entries`, and for a file without a prompt.
    """
    prompts = list(dict.fromkeys(entry for entry in read_entries(path) if entry))
    if not prompts:
        raise BadInput(f"{path}: no prompt in it; give at least one")
    return prompts


@reads("a prompt file", "see what it holds")
def read_entries(path: str | Path) -> list[str]:
    """Every entry of a prompt file, blank and repeated ones too, without surrounding white space.

    `.txt`: one a line; `.json`: a list of strings; `.jsonl`: lines with a "prompt"; `.csv`: a "prompt" column.
    Raises BadInput, naming file and line, for a missing, non-UTF-8 or malformed file.
    """
    path = Path(path)
    readers = {".txt": _txt, ".json": _json, ".jsonl": _jsonl, ".csv": _csv}
    if path.suffix.lower() not in readers:
        raise BadInput(
            f"{path}: prompts come as .txt, .json (list), .jsonl or .csv, not {path.suffix!r}"
        )
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})") from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise BadInput(f"{path}, line {line}: not UTF-8; save the file as UTF-8") from None
    entries = [(place, entry.strip()) for place, entry in readers[path.suffix.lower()](path, text)]
    for place, entry in entries:
        if UNUSABLE.search(entry):
            raise BadInput(f"{path}, {place}: holds a NUL or half a surrogate pair; remove it")
    return [entry for _, entry in entries]


def shards(prompts: list[str], size: int) -> list[list[str]]:
    """Cut prompts into consecutive shards of `size`; prompts added at the end change no earlier full shard."""
    return [prompts[start : start + size] for start in range(0, len(prompts), size)]


def _txt(path: Path, text: str):
    # Only real line ends part prompts: str.splitlines would also cut at form feeds and U+2028.
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return [(f"line {number}", line) for number, line in enumerate(lines, start=1)]


def _json(path: Path, text: str):
    try:
        value = json.loads(text) if text.strip() else []
    except json.JSONDecodeError as error:
        raise BadInput(f"{path}, line {error.lineno}: not JSON ({error.msg})") from None
    except RecursionError:
        raise BadInput(
            f"{path}: nested too deep; a JSON prompt file is a list of strings"
        ) from None
    if not isinstance(value, list):
        raise BadInput(f"{path}: a JSON prompt file is a list of strings")
    for number, entry in enumerate(value):
        if not isinstance(entry, str):
            raise BadInput(f"{path}, entry {number}: {json.dumps(entry)[:40]} is not a string")
    return [(f"entry {number}", entry) for number, entry in enumerate(value)]


def _jsonl(path: Path, text: str):
    for place, line in _txt(path, text):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise BadInput(f"{path}, {place}: not JSON ({error})") from None
        if not isinstance(value, dict) or not isinstance(value.get("prompt"), str):
            raise BadInput(f'{path}, {place}: needs an object with a text under "prompt"')
        yield place, value["prompt"]


def _csv(path: Path, text: str):
    try:
        rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        columns = rows.fieldnames or []
        if columns and "prompt" not in columns:
            raise BadInput(f'{path}: no column "prompt" (columns: {", ".join(columns)[:200]})')
        for row in rows:
            yield f"line {rows.line_num}", row["prompt"] or ""
    except csv.Error as error:
        raise BadInput(f"{path}: not CSV ({error})") from None
