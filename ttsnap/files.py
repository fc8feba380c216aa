"""Reading and writing so that a killed process never leaves half a file under its final name."""

import contextlib
import errno
import glob
import json
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

from ttsnap.errors import BadInput, TtsnapError

FULL = 4 << 20  # bytes; with less than this left a disk is full, whatever a library says went wrong


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block ends without an error.

    What a killed process of this machine left there for the same `path` is removed first. Raises TtsnapError where
    the disk is full or cannot be written.
    """
    path, temporary = Path(path), None
    if path.exists() and not path.is_file():  # renaming over a device would destroy it
        raise TtsnapError(f"{path}: is no plain file; name another")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        need_room(path.parent)
        temporary = _temporary(path)
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    except Exception as error:
        reason = None if isinstance(error, TtsnapError) else _unwritable(path.parent, error)
        if reason is None:
            raise
        raise TtsnapError(f"{path}: {reason}") from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()


def need_room(folder: Path, size: int = 0) -> None:
    """Raise OSError where a disk has no room for `size` bytes more: HDF5, told so in the midst of it, crashes."""
    if shutil.disk_usage(folder).free < size + FULL:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _temporary(path: Path) -> Path:
    """The temporary name of this process for `path`, once those of dead processes are gone."""
    start = f".{path.name}.{socket.gethostname()}-"
    for stale in path.parent.glob(f"{glob.escape(start)}*"):
        pid = stale.name.removeprefix(start).partition(".")[0]
        if pid.isdigit() and not Path("/proc", pid).exists():
            stale.unlink(missing_ok=True)
    return path.parent / f"{start}{os.getpid()}{path.suffix}"


def _unwritable(folder: Path, error: Exception) -> str | None:
    """What is wrong with the disk, where that is why a write failed; else None."""
    while not folder.exists():
        folder = folder.parent
    number = getattr(error, "errno", None)
    if number in (errno.EROFS, errno.EACCES, errno.EPERM):
        return f"{folder} cannot be written ({os.strerror(number)})"
    if number == errno.EDQUOT:
        return f"the quota of {folder} is used up; make room and run it again"
    full = number == errno.ENOSPC or os.strerror(errno.ENOSPC) in str(error)
    if full or shutil.disk_usage(folder).free < FULL:
        return f"the disk of {folder} is full; make room and run it again"
    return None


def write_text(path: str | Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: object) -> None:
    """Write `value` as JSON, keys in the order given, NaN refused."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def parse_json(text: str) -> object:
    """JSON as the standard has it: ValueError also for NaN, infinities, and a key that an object has twice."""
    return json.loads(text, object_pairs_hook=_object, parse_constant=_not_a_number)


def _object(pairs: list[tuple[str, object]]) -> dict:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"an object has the key {twice[:60]!r} twice; remove one")
    return found


def _not_a_number(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def read_json(path: str | Path) -> object:
    """Read a JSON file; a missing or broken one is a `BadInput` that names it."""
    try:
        return parse_json(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file") from None
    except ValueError as error:
        raise BadInput(f"{path}: not a JSON file ({error})") from None
