"""Reading and writing so that a killed process never leaves half a file under its final name."""

import contextlib
import errno
import glob
import json
import os
import re
import shutil
import socket
import stat
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


def parse_json(text: str, infinities: bool = False) -> object:
    """JSON as the standard has it: ValueError also for NaN, infinities, and a key that an object has twice.

    infinities: take what Python writes beyond the standard, as libraries' configs have it.
    """
    constant = None if infinities else _not_a_number
    return json.loads(text, object_pairs_hook=_object, parse_constant=constant)


def _object(pairs: list[tuple[str, object]]) -> dict:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"an object has the key {twice[:60]!r} twice; remove one")
    return found


def _not_a_number(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def read_json(path: str | Path, infinities: bool = False) -> object:
    """Read a JSON file; a missing or broken one is a `BadInput` that names it. infinities: as `parse_json`."""
    with reading(path, "not a JSON file"):
        return parse_json(Path(path).read_text(encoding="utf-8"), infinities)


# What the system says of a file whose bytes may well be whole: nothing here asks to delete it.
LOCKED = (
    "locked: another process has it open for writing; wait for that one to end"
    " (where the file system knows no locks, set HDF5_USE_FILE_LOCKING=FALSE)"
)
TOO_MANY = "too many files are open; close some, or raise the limit (ulimit -n), and run it again"
DISK = "its disk gave an error; the file may be whole: look at the disk, then run it again"
CAUSES = {
    errno.ENOENT: "no such file",
    errno.ENOTDIR: "no such file (a file stands where a folder of its path should be)",
    errno.EISDIR: "a folder; name a file",
    errno.EACCES: "this user may not read it; change its permissions",
    errno.EPERM: "this user may not read it; change its permissions",
    errno.EAGAIN: LOCKED,
    errno.EDEADLK: LOCKED,
    errno.ENOLCK: LOCKED,
    errno.ETXTBSY: LOCKED,
    errno.EBUSY: "in use by another process; wait for that one to end",
    errno.EMFILE: TOO_MANY,
    errno.ENFILE: TOO_MANY,
    errno.EIO: DISK,
    errno.ESTALE: DISK,
    errno.ETIMEDOUT: DISK,
    errno.ENOMEM: "memory ran out; free some and run it again",
    errno.ELOOP: "a link that leads back to itself",
    errno.ESPIPE: "not a file",
    errno.ENAMETOOLONG: "no such file (the name is too long)",
}
NUMBER = re.compile(r"(?:errno = |os error |\[Errno )(\d+)")  # as HDF5, Rust and Python write it


@contextlib.contextmanager
def reading(path: str | Path, broken: str, remedy: str = "", missing: str = "") -> Iterator[None]:
    """Within the block `path` is read: whatever goes wrong there becomes a `BadInput` that names it and tells why.

    broken: what to call it when its bytes are at fault, and remedy: what to do then, and only then; missing: what to
    do when there is no such file.
    """
    try:
        yield
    except TtsnapError:
        raise
    except Exception as error:  # libraries raise whatever they like on foreign bytes
        if cause := why_unreadable(path, error):
            ask = missing if cause.startswith(CAUSES[errno.ENOENT]) else ""
            raise BadInput(f"{path}: {cause}{ask and '; ' + ask}") from None
        why = f"{path}: {broken} ({one_line(error)})"
        raise BadInput(f"{why}{remedy and '; ' + remedy}") from None


def why_unreadable(path: str | Path, error: Exception) -> str | None:
    """Why the system did not let `path` be read, when `error` came of reading it; None when its bytes are at fault."""
    text = str(error)  # some libraries hide the system's number there
    if "already open for write" in text or "unable to lock file" in text:
        return LOCKED
    if isinstance(error, MemoryError):
        return CAUSES[errno.ENOMEM]
    number = getattr(error, "errno", None) or _refused(path)
    number = number or next((int(found[1]) for found in NUMBER.finditer(text)), None)
    return CAUSES.get(number, f"cannot be read ({os.strerror(number)})") if number else None


def _refused(path: str | Path) -> int | None:
    """The system's number for why a file does not open, tried by opening it; None when it does."""
    try:
        kind = os.stat(path).st_mode
        if stat.S_ISDIR(kind):
            return errno.EISDIR
        if not stat.S_ISREG(kind):  # opening a pipe would wait for ever
            return errno.ESPIPE
        with open(path, "rb") as file:
            file.read(1)
    except OSError as error:
        return error.errno
    return None


def one_line(error: Exception) -> str:
    """An error's text as one line that is not too long; its class where it has none."""
    return " ".join(str(error).split())[:200] or type(error).__name__
