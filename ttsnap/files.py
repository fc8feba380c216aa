"""Reading and writing so that a killed process never leaves half a file under its final name."""

import contextlib
import glob
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from ttsnap.errors import BadInput


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block ends without an error.

    What a killed process of this machine left there for the same `path` is removed first.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    start = f".{path.name}.{socket.gethostname()}-"
    for stale in path.parent.glob(f"{glob.escape(start)}*"):
        pid = stale.name.removeprefix(start).partition(".")[0]
        if pid.isdigit() and not Path("/proc", pid).exists():
            stale.unlink(missing_ok=True)
    temporary = path.parent / f"{start}{os.getpid()}{path.suffix}"
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: object) -> None:
    """Write `value` as JSON, keys in the order given, NaN refused."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | Path) -> object:
    """Read a JSON file; a missing or broken one is a `BadInput` that names it."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BadInput(f"{path}: not a JSON file ({error})") from None
