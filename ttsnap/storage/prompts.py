"""Prompt files: read any of four formats, compare prompts, cut the list into shards."""

import csv
import difflib
import functools
import hashlib
import io
import json
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from ttsnap.errors import BadInput, reads
from ttsnap.storage.files import parse_json, reading

UNUSABLE = re.compile("[\0\ud800-\udfff]")  # neither file names nor UTF-8 can hold them
WRONG = {  # left behind by a wrong decoding or by joined files
    "\ufffd": "U+FFFD, which replaces a character lost in a wrong decoding; restore that character",
    "\ufeff": "a byte order mark in the middle, left by joining files; remove it",
}
BYTE_ORDER_MARKS = (b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")
PLAIN = str.maketrans("“”„«»‘’‚–—", '"""""\'\'\'--')


def read_prompts(path: str | Path) -> list[str]:
    """The distinct prompts of a file in order, stripped of surrounding white space.

    Skips blank entries and repetitions; a note on stderr counts the latter. Raises BadInput as `read_entries`, and for
    a file without a prompt.
    """
    entries = [entry for entry in read_entries(path) if entry]
    prompts = list(dict.fromkeys(entries))
    if not prompts:
        raise BadInput(f"{path}: no prompt in it; give at least one")
    if repeated := len(entries) - len(prompts):
        _note(f"note: {path}: {repeated} of {len(entries)} prompts repeat an earlier one; left out")
    return prompts


@functools.cache  # one note for a file that is read twice
def _note(message: str) -> None:
    print(message, file=sys.stderr)


@reads("a prompt file", "check its content")
def read_entries(path: str | Path) -> list[str]:
    """Every entry of a prompt file, including blank and repeated ones, stripped of surrounding white space.

    `.txt`: one per line; `.json`: a list of strings; `.jsonl`: objects with a "prompt"; `.csv`: a "prompt" column.
    Raises BadInput, naming file and line, for a missing, non-UTF-8 or malformed file.
    """
    path = Path(path)
    readers = {".txt": _txt, ".json": _json, ".jsonl": _jsonl, ".csv": _csv}
    if path.suffix.lower() not in readers:
        raise BadInput(f"{path}: prompts come as .txt, .json (list), .jsonl or .csv, not {path.suffix!r}")
    with reading(path, "cannot be read"):
        data = path.read_bytes()
    if data.startswith(BYTE_ORDER_MARKS):
        raise BadInput(f"{path}, line 1: not UTF-8 but UTF-16 or UTF-32; save the file as UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = len((data[: error.start] + b"?").splitlines())
        raise BadInput(f"{path}, line {line}: not UTF-8; save the file as UTF-8") from None
    entries = [(place, entry.strip()) for place, entry in readers[path.suffix.lower()](path, text)]
    for place, entry in entries:
        if fault := text_fault(entry):
            raise BadInput(f"{path}, {place}: holds {fault}")
    return [entry for _, entry in entries]


def text_fault(text: str) -> str | None:
    """What a text contains that nobody can have meant, and the remedy; None for a clean text."""
    if UNUSABLE.search(text):
        return "a NUL or half a surrogate pair; remove it"
    for character in text:
        if character in WRONG:
            return WRONG[character]
        if unicodedata.category(character) == "Cc" and character not in "\t\r\n":
            return f"the control character U+{ord(character):04X}; remove it"
    return None


def shards(prompts: list[str], size: int) -> list[list[str]]:
    """Cut prompts into consecutive shards of `size`; appending prompts changes no full shard."""
    return [prompts[start : start + size] for start in range(0, len(prompts), size)]


def normal_form(prompt: str) -> str:
    """A prompt without regard to case, spacing, Unicode form and final punctuation, for comparison."""
    seen = (c for c in unicodedata.normalize("NFKC", prompt) if unicodedata.category(c) != "Cf")
    text = unicodedata.normalize("NFKC", "".join(seen).casefold()).translate(PLAIN)
    text = " ".join(text.split())
    return text.rstrip(" .!?,;:。！？、") or text


def overlap(some: Iterable[str], others: Iterable[str]) -> tuple[str, str] | None:
    """The first pair of prompts, one from each set, with the same normal form; None when the sets are disjoint."""
    seen = {normal_form(prompt): prompt for prompt in some}
    for prompt in others:
        if (form := normal_form(prompt)) in seen:
            return seen[form], prompt
    return None


def file_name(prompt: str) -> str:
    """A name for a prompt's files: its first words in ASCII, and 10 digits of its SHA-256."""
    plain = unicodedata.normalize("NFKD", prompt).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:40].strip("-")
    digest = hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest()[:10]
    return f"{words}-{digest}" if words else digest


def _txt(path: Path, text: str) -> list[tuple[str, str]]:
    # str.splitlines would also cut at form feeds and U+2028.
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return [(f"line {number}", line) for number, line in enumerate(lines, start=1)]


def _json(path: Path, text: str) -> list[tuple[str, str]]:
    try:
        value = parse_json(text) if text.strip() else []
    except json.JSONDecodeError as error:
        raise BadInput(f"{path}, line {error.lineno}: not JSON ({error.msg})") from None
    except ValueError as error:
        raise BadInput(f"{path}: {error}") from None
    except RecursionError:
        raise BadInput(f"{path}: nested too deep; a JSON prompt file is a list of strings") from None
    if not isinstance(value, list):
        raise BadInput(f"{path}: a JSON prompt file is a list of strings")
    for number, entry in enumerate(value):
        if not isinstance(entry, str):
            raise BadInput(f"{path}, entry {number}: {json.dumps(entry)[:40]} is not a string")
    return [(f"entry {number}", entry) for number, entry in enumerate(value)]


def _jsonl(path: Path, text: str) -> Iterator[tuple[str, str]]:
    for place, line in _txt(path, text):
        if not line.strip():
            continue
        try:
            value = parse_json(line)
        except (ValueError, RecursionError) as error:
            raise BadInput(f"{path}, {place}: not JSON ({error}); each line is one object") from None
        if not isinstance(value, dict) or not isinstance(value.get("prompt"), str):
            near = _near(value) if isinstance(value, dict) and "prompt" not in value else ""
            raise BadInput(f'{path}, {place}: needs an object with a text under "prompt"{near}')
        yield place, value["prompt"]


def _csv(path: Path, text: str) -> Iterator[tuple[str, str]]:
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    columns, line = None, 1
    try:
        for row in rows:
            where = f"{path}, line {line}"
            if any(re.match(r'\s+"', field) for field in row):
                raise BadInput(f"{where}: a quote after a space; remove the space")
            if row and columns is None:
                columns = _columns(path, row)
            elif row:
                if len(row) != len(columns):
                    found = f"{len(row)} fields, but the header has {len(columns)}"
                    raise BadInput(f"{where}: {found}; put a prompt with a comma in quotes")
                yield f"line {line}", row[columns.index("prompt")]
            line = rows.line_num + 1
    except csv.Error as error:
        raise BadInput(
            f'{path}, line {line}: not CSV ({error}); put a prompt with a quote or a comma in quotes, and write "" for'
            " a quote in it"
        ) from None


def _columns(path: Path, header: list[str]) -> list[str]:
    """A CSV header, which must name "prompt" and no column twice."""
    twice = [name for name, count in Counter(header).items() if name and count > 1]
    if twice:
        raise BadInput(f'{path}, line 1: two columns "{twice[0][:60]}"; rename or remove one')
    if "prompt" not in header:
        for mark, name in ((";", "semicolons"), ("\t", "tabs")):
            if "prompt" in [column.strip(' "').lower() for column in ",".join(header).split(mark)]:
                raise BadInput(f"{path}: its fields are separated by {name}; save it with commas")
        raise BadInput(f'{path}: no column "prompt" (columns: {", ".join(header)[:200]}){_near(header)}')
    return header


def _near(names: Iterable[str]) -> str:
    """A hint where one of `names` is nearly "prompt"."""
    plain = {name.strip().lower(): name for name in names}
    found = difflib.get_close_matches("prompt", plain, n=1, cutoff=0.7)
    return f'; rename "{plain[found[0]]}" to "prompt"' if found else ""
