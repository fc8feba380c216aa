"""Identity of a file or a folder of weights by its content: it changes when the content does, and only then."""

import functools
import hashlib
import os
import stat
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

WHOLE = 256 << 20  # bytes; larger files are sampled in blocks, as hashing them whole takes too long
BLOCK, BLOCKS = 1 << 20, 64
# Files in a folder of weights that no library reads.
NOTES = {".md", ".rst", ".pdf", ".png", ".jpg", ".jpeg", ".webp", ".gif", ".svg", ".log"}
VOCABULARY = ("vocab", "merges")  # the .txt files that tokenizers read


def content(path: str | Path) -> str:
    """SHA-256 of a file; above `WHOLE` bytes, of its size and of `BLOCKS` blocks spread over it."""
    status = os.stat(path)
    return _content(os.path.realpath(path), status.st_size, status.st_mtime_ns)


@functools.cache
def _content(path: str, size: int, mtime_ns: int) -> str:
    with open(path, "rb") as file:
        if size <= WHOLE:
            return hashlib.file_digest(file, "sha256").hexdigest()
        digest = hashlib.sha256(str(size).encode())
        for number in range(BLOCKS):
            file.seek((size - BLOCK) * number // (BLOCKS - 1))
            digest.update(file.read(BLOCK))
        return digest.hexdigest()


def contents(paths: Iterable[str | Path], times: bool = False) -> list[str]:
    """`content` of each file, read in parallel; "" for one that cannot be read.

    times: add size and time of a file that is only sampled, so that no edit goes unnoticed.
    """

    def identify(path) -> str:
        try:
            status = os.stat(path)
            if not stat.S_ISREG(status.st_mode):  # reading a pipe would block
                return ""
            sampled = times and status.st_size > WHOLE
            return content(path) + (f" {status.st_size} {status.st_mtime_ns}" if sampled else "")
        except (OSError, ValueError):
            return ""

    with ThreadPoolExecutor(8) as readers:
        return list(readers.map(identify, paths))


def digest(path: str | Path, only: Iterable[str] = (), times: bool = False) -> str | None:
    """12 hex digits for a file, or for a folder's files and their relative paths; None when there is neither.

    only: the relative paths that count, when no other file in the folder is read.
    """
    path = Path(path)
    found = {"": path} if path.is_file() else {f.relative_to(path).as_posix(): f for f in _files(path)}
    files = {name: found[name] for name in sorted(found) if not name or not only or name in only}
    if not files:
        return None
    lines = zip(files, contents(files.values(), times), strict=True)
    text = "".join(f"{name}\0{identity}\n" for name, identity in lines)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:12]


def _files(folder: Path) -> Iterable[Path]:
    """The files of a folder of weights that libraries may read; links are followed, each folder once."""
    seen = set()
    for place, inner, names in os.walk(folder, followlinks=True):
        inner[:] = [n for n in inner if n[0] != "." and n != "__pycache__"]
        real = os.path.realpath(place)
        if real in seen:
            inner.clear()
            continue
        seen.add(real)
        yield from (Path(place, name) for name in names if _is_read(Path(name)))


def _is_read(name: Path) -> bool:
    if name.suffix.lower() == ".txt":
        return name.stem.lower().startswith(VOCABULARY) or name.stem.lower().endswith(VOCABULARY)
    hidden = name.name.startswith(".") or name.stem.upper() in ("LICENSE", "LICENCE", "NOTICE")
    return not hidden and name.suffix.lower() not in NOTES
