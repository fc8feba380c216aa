"""What a file or a folder of weights is, by content: so that an edit in place, and nothing else, makes it another."""

import functools
import hashlib
import os
import stat
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

WHOLE = 256 << 20  # bytes; of a larger file only some blocks are read: hashing it would take longer than seconds
BLOCK, BLOCKS = 1 << 20, 64
# What lies in a folder of weights and no library reads.
NOTES = {".md", ".rst", ".pdf", ".png", ".jpg", ".jpeg", ".webp", ".gif", ".svg", ".log"}
VOCABULARY = ("vocab", "merges")  # the .txt files that tokenizers read


def content(path: str | Path) -> str:
    """SHA-256 of a file; of one above `WHOLE`, of its size and `BLOCKS` blocks from the first to the last."""
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
    """`content` of each file, several read at once; "" where there is none to read.

    times: of a file that is not read whole, size and time too, so that no edit goes unnoticed.
    """

    def named(path) -> str:
        try:
            status = os.stat(path)
            if not stat.S_ISREG(status.st_mode):  # reading a pipe would wait for ever
                return ""
            when = f" {status.st_size} {status.st_mtime_ns}" if status.st_size > WHOLE else ""
            return content(path) + (when if times else "")
        except (OSError, ValueError):
            return ""

    with ThreadPoolExecutor(8) as readers:
        return list(readers.map(named, paths))


def digest(path: str | Path, only: Iterable[str] = (), times: bool = False) -> str | None:
    """12 hex digits of a file, or of the files of a folder and their places in it; None where there is neither.

    only: the names that count, where what else is in the folder is known not to be read.
    """
    path = Path(path)
    if path.is_file():
        files = {"": path}
    else:
        files = {f.relative_to(path).as_posix(): f for f in _files(path)}
        files = {name: files[name] for name in sorted(files) if not only or name in only}
    if not files:
        return None
    lines = zip(files, contents(files.values(), times), strict=True)
    text = "".join(f"{name}\0{found}\n" for name, found in lines)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:12]


def _files(folder: Path) -> Iterable[Path]:
    """What libraries may read of a folder of weights; links are followed, each folder once."""
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
