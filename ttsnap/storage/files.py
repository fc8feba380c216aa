"""Read files with errors that name the cause, and write them whole or not at all."""

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

FULL = 4 << 20  # free bytes below which a disk counts as full, whatever error a library raises


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, renamed to `path` when the block ends without an error.

    Removes what a killed process of this machine left for the same `path`. Raises TtsnapError for a disk that is full
    or cannot be written.
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
    """Raise OSError unless a disk has room for `size` more bytes; HDF5 crashes when it runs out while writing."""
    if shutil.disk_usage(folder).free < size + FULL:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _temporary(path: Path) -> Path:
    """This process's temporary name for `path`; removes those of dead processes."""
    start = f".{path.name}.{socket.gethostname()}-"
    for stale in path.parent.glob(f"{glob.escape(start)}*"):
        pid = stale.name.removeprefix(start).partition(".")[0]
        if pid.isdigit() and not Path("/proc", pid).exists():
            stale.unlink(missing_ok=True)
    return path.parent / f"{start}{os.getpid()}{path.suffix}"


def _unwritable(folder: Path, error: Exception) -> str | None:
    """What is wrong with the disk, if that made a write fail; else None."""
    while not folder.exists():
        folder = folder.parent
    number, full = getattr(error, "errno", None), os.strerror(errno.ENOSPC)
    if number in (errno.EROFS, errno.EACCES, errno.EPERM):
        return f"{folder} cannot be written ({os.strerror(number)})"
    if number == errno.EDQUOT:
        return f"the quota of {folder} is used up; make room and run it again"
    if number == errno.ENOSPC or full in str(error) or shutil.disk_usage(folder).free < FULL:
        return f"the disk of {folder} is full; make room and run it again"
    return None


def write_text(path: str | Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: object) -> None:
    """Write `value` as JSON with its keys in order; raises ValueError for NaN."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def parse_json(text: str, infinities: bool = False) -> object:
    """Parse strict JSON: raises ValueError also for NaN, infinities and repeated keys of an object.

    infinities: accept NaN and infinities, which Python writes into libraries' configs.
    """
    return json.loads(text, object_pairs_hook=_object, parse_constant=None if infinities else _not_a_number)


def _object(pairs: list[tuple[str, object]]) -> dict:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"an object has the key {twice[:60]!r} twice; remove one")
    return found


def _not_a_number(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def read_json(path: str | Path, infinities: bool = False) -> object:
    """Read a JSON file; raises BadInput for a missing or broken one. infinities: as `parse_json`."""
    with reading(path, "not a JSON file"):
        return parse_json(Path(path).read_text(encoding="utf-8"), infinities)


# Causes that leave the file's bytes intact: no message here suggests deleting it.
LOCKED = (
    "locked: another process has it open for writing; wait for it to end"
    " (on a file system without locks, set HDF5_USE_FILE_LOCKING=FALSE)"
)
TOO_MANY = "too many files are open; close some, or raise the limit (ulimit -n), and run it again"
DISK = "its disk gave an error; the file may be whole: check the disk, then run it again"
CAUSES = {
    errno.ENOENT: "no such file",
    errno.ENOTDIR: "no such file (a folder in its path is a file)",
    errno.EISDIR: "a folder; name a file",
    errno.EACCES: "this user may not read it; change its permissions",
    errno.EPERM: "this user may not read it; change its permissions",
    errno.EAGAIN: LOCKED,
    errno.EDEADLK: LOCKED,
    errno.ENOLCK: LOCKED,
    errno.ETXTBSY: LOCKED,
    errno.EBUSY: "in use by another process; wait for it to end",
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
    """Turn any error of reading `path` within the block into a BadInput that names the file and the cause.

    broken, remedy: what to call it and what to do when its bytes are at fault; missing: what to do when there is no
    such file.
    """
    try:
        yield
    except TtsnapError:
        raise
    except Exception as error:  # libraries raise anything on foreign bytes
        if cause := why_unreadable(path, error):
            ask = missing if cause.startswith(CAUSES[errno.ENOENT]) else ""
            raise BadInput(f"{path}: {cause}{ask and '; ' + ask}") from None
        raise BadInput(f"{path}: {broken} ({one_line(error)}){remedy and '; ' + remedy}") from None


def why_unreadable(path: str | Path, error: Exception) -> str | None:
    """Why the system could not read `path`, given the `error` of reading it; None when its bytes are at fault."""
    text = str(error)  # some libraries put the error number there
    if "already open for write" in text or "unable to lock file" in text:
        return LOCKED
    if isinstance(error, MemoryError):
        return CAUSES[errno.ENOMEM]
    number = getattr(error, "errno", None) or _refused(path)
    number = number or next((int(found[1]) for found in NUMBER.finditer(text)), None)
    return CAUSES.get(number, f"cannot be read ({os.strerror(number)})") if number else None


def _refused(path: str | Path) -> int | None:
    """The error number of opening a file, found by trying; None when it opens."""
    try:
        kind = os.stat(path).st_mode
        if stat.S_ISDIR(kind):
            return errno.EISDIR
        if not stat.S_ISREG(kind):  # opening a pipe would block
            return errno.ESPIPE
        with open(path, "rb") as file:
            file.read(1)
    except OSError as error:
        return error.errno
    return None


def one_line(error: Exception) -> str:
    """An error's text as one line of at most 200 characters; its class when it has no text."""
    return " ".join(str(error).split())[:200] or type(error).__name__
