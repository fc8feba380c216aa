"""Where a command may write: never over its inputs, and never into a folder that somebody else filled."""

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from ttsnap.commands.options import FOLDER, READ, WRITTEN, Command, Filled, marked, places
from ttsnap.errors import BadInput, TtsnapError
from ttsnap.settings.command_line import option_name
from ttsnap.storage.files import read_json, reading, write_text

MARKER = ".ttsnap.json"  # in a folder: the command that fills it, and its options
MOST_HASHED = 64 << 20  # bytes; a larger file is told by its size
NEVER_ABOUT = {"replace", "device", "threads"}  # options that change no result


def check_outputs(options: Command) -> None:
    """Raise BadInput for an output that is also an input or another output, or cannot be written where it is."""
    outputs = {key: Path(text) for key, text in places(options, WRITTEN)}
    inputs = [Path(text) for _, text in places(options, READ) if _exists(text)]
    filled = options.filled()
    for key, path in outputs.items():
        option = f"{option_name(type(options), key)}: {path}"
        folder = key == "out" and (filled is not None or key in marked(options, FOLDER))
        _check_place(path, option, folder)
        shared = filled and filled.writes
        for other in inputs:
            if path.exists() and other.samefile(path):
                raise BadInput(f"{option} is also an input; give another file or folder")
            if folder and not shared and other.resolve().is_relative_to(path.resolve()):
                raise BadInput(f"{option} holds the input {other}; give another --out")
        for other, there in outputs.items():
            if other != key and there.resolve() == path.resolve():
                raise BadInput(f"{option} is also {option_name(type(options), other)}; give another file")


def _exists(text: str) -> bool:
    try:
        return bool(text) and Path(text).exists()
    except (OSError, ValueError):  # a word that is no valid file name
        return False


def _check_place(path: Path, option: str, folder: bool) -> None:
    """Raise BadInput where something else is in the way of a file or a folder."""
    if folder and path.exists() and not path.is_dir():
        raise BadInput(f"{option} is a file; name a folder")
    if not folder and path.is_dir():
        raise BadInput(f"{option} is a folder; name a file")
    if not folder and path.exists() and not path.is_file():
        raise BadInput(f"{option} is no plain file; name another")
    parent = next((parent for parent in path.parents if parent.exists()), None)
    if parent and not parent.is_dir():
        raise BadInput(f"{option} lies below {parent}, which is a file; name another place")


@contextlib.contextmanager
def claimed(command: str, options: Command) -> Iterator[None]:
    """Mark --out as the command's folder; when the command fails without having written there, undo that.

    Raises BadInput, before anything is written, for a folder that holds what the command did not make, or made with
    other options.
    """
    filled = options.filled()
    if filled is None:
        yield
        return
    folder = Path(options.out)
    new = not folder.exists()
    first = claim(folder, command, filled, _about(options, filled), getattr(options, "replace", None))
    try:
        yield
    except BaseException:
        if first and folder.is_dir() and [entry.name for entry in folder.iterdir()] == [MARKER]:
            (folder / MARKER).unlink()
            if new:
                folder.rmdir()
        raise


def claim(folder: Path, command: str, filled: Filled, about: dict, replace: bool | None = None) -> bool:
    """Mark a folder that is new, empty or the command's own; returns whether it had no marker before.

    Raises BadInput as `claimed` does. about: options by name, in JSON types. replace: also take a folder made with
    other options; None: the command has no such option.
    """
    before = _owner(folder, command, filled)
    if before is not None:
        differing = [key for key in about if key in before and before[key] != about[key]]
        if differing and not replace:
            key = differing[0]
            raise BadInput(
                f"{folder}: holds what {command} made with {key} {_short(before[key])}, now it is "
                f"{_short(about[key])}; give another --out{'' if replace is None else ', or --replace'}"
            )
        for pattern in filled.stale if differing else ():
            for path in folder.glob(pattern):
                shutil.rmtree(path, ignore_errors=True)
        if before == about:
            return False
    text = json.dumps({"command": command, "options": about}, indent=1, ensure_ascii=False) + "\n"
    if before is not None:
        write_text(folder / MARKER, text)
        return False
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / MARKER).open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:  # another process was faster
        return claim(folder, command, filled, about, replace)
    except OSError as error:
        raise TtsnapError(f"{folder}: cannot be written ({error.strerror})") from None
    return True


def _owner(folder: Path, command: str, filled: Filled) -> dict | None:
    """The options in a folder's marker; {} if `command` made the folder without a marker, None if it is free to take.

    Raises BadInput for a folder with other content.
    """
    if (folder / MARKER).is_file():
        before = read_json(folder / MARKER)
        if not isinstance(before, dict) or not isinstance(before.get("options"), dict):
            raise BadInput(f"{folder / MARKER}: not a marker of ttsnap; give another --out")
        if before.get("command") != command:
            raise BadInput(f"{folder}: made by `ttsnap {before.get('command')}`; give another --out")
        return before["options"]
    names = {entry.name for entry in folder.iterdir()} if folder.exists() else set()
    if names & set(filled.made):
        return {}
    if there := sorted(names & set(filled.writes) if filled.writes else names):
        other = f"{folder}: holds {there[0]}, not made by `ttsnap {command}`"
        raise BadInput(f"{other}; give another --out, or an empty folder")
    return None


def _about(options: Command, filled: Filled) -> dict:
    """The options that the folder's content depends on, by name with _ for -, files with a digest."""
    if filled.free is None:
        return {}
    left_out = NEVER_ABOUT | marked(options, WRITTEN) | {*filled.free}
    values = options.model_dump(mode="json", exclude=left_out)
    read = {key for key, _ in places(options, READ)}
    names = {key: option_name(type(options), key).removeprefix("--").replace("-", "_") for key in values}
    return {names[key]: _with_digests(value) if key in read else value for key, value in values.items()}


def _with_digests(value: object) -> object:
    if isinstance(value, dict):
        return {key: _with_digests(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_with_digests(part) for part in value]
    if isinstance(value, str) and _exists(value) and (path := Path(value)).is_file():
        what = f"{path.stat().st_size} bytes"
        if path.stat().st_size <= MOST_HASHED:
            with reading(path, "cannot be read"):
                what = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
        return f"{value} ({what})"
    return value


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}…"
