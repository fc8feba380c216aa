"""Options that several commands share, and the types of options: each refuses in a line what makes no sense."""

import argparse
import errno
import math
import os
import stat
from collections.abc import Callable

from ttsnap.errors import BadInput

MOST = 10_000_000  # of whatever is counted; more is a slip of the keyboard
MOST_THREADS, MOST_SIDE = 1024, 16_384
MOST_DRAWS, MOST_SCHEDULES, MOST_IMAGES = 100_000, 1_000_000, 100_000  # of one command
MOST_BYTES = 200  # of a file's name: what is written beside it has a longer one


def whole(least: int, most: int = MOST) -> Callable[[str], int]:
    """The type of an option that takes a whole number from `least` to `most`."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a whole number") from None
        if value < least:
            raise argparse.ArgumentTypeError(f"{value} is too small; give {least} or more")
        if value > most:
            raise argparse.ArgumentTypeError(f"{text[:40]} is too large; give {most} or less")
        return value

    return parse


seed = whole(0, 2**32 - 1)
count, natural = whole(1), whole(0)
side = whole(1, MOST_SIDE)


def number(
    least: float = -math.inf, above: float = -math.inf, most: float = math.inf
) -> Callable[[str], float]:
    """The type of an option that takes a finite number from `least` to `most` and larger than `above`."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a number") from None
        if not math.isfinite(value):
            raise argparse.ArgumentTypeError(f"{text[:40]} is not finite")
        if value < least or value <= above:
            limit = f"{least:g} or more" if value < least else f"more than {above:g}"
            raise argparse.ArgumentTypeError(f"{text[:40]} is too small; give {limit}")
        if value > most:
            raise argparse.ArgumentTypeError(f"{text[:40]} is too large; give {most:g} or less")
        return value

    return parse


def in_file(text: str) -> str:
    """The type of an option that names a file to read: it is there, and can be read."""
    if stat.S_ISDIR(_status(text, "no such file").st_mode):
        raise argparse.ArgumentTypeError(f"{text}: is a folder; name a file")
    if not os.access(text, os.R_OK):
        raise argparse.ArgumentTypeError(f"{text}: may not be read; see its permissions")
    return text


def in_folder(text: str) -> str:
    """The type of an option that names a folder to read from."""
    if not stat.S_ISDIR(_status(text, "no such folder").st_mode):
        raise argparse.ArgumentTypeError(f"{text}: is a file; name a folder")
    if not os.access(text, os.R_OK | os.X_OK):
        raise argparse.ArgumentTypeError(f"{text}: may not be read; see its permissions")
    return text


def out_file(text: str) -> str:
    """The type of an option that names a file to write: no folder, and below none but folders that can be written."""
    parent = os.path.dirname(os.path.abspath(_named(text)))
    _writable(text, parent)
    if os.path.isdir(text):
        raise argparse.ArgumentTypeError(f"{text}: is a folder; name a file")
    return text


def out_path(text: str) -> str:
    """The type of an option that names a file or a folder to write, as another option says."""
    _writable(text, os.path.dirname(os.path.abspath(_named(text))))
    return text


def out_folder(text: str) -> str:
    """The type of an option that names a folder to write into."""
    _writable(text, os.path.abspath(_named(text)))
    return text


def _named(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("is empty; give a name")
    if any(len(os.fsencode(part)) > MOST_BYTES for part in text.split(os.sep)):
        raise argparse.ArgumentTypeError(f"{text[:40]}…: this name is too long")
    return text


def _status(text: str, missing: str) -> os.stat_result:
    try:
        return os.stat(_named(text))
    except OSError as error:
        reason = missing if error.errno == errno.ENOENT else error.strerror
        raise argparse.ArgumentTypeError(f"{text[:200]}: {reason}") from None


def _writable(text: str, folder: str) -> None:
    """Refuse a folder in which, or in the nearest of its parents that is there, nothing can be written."""
    while not os.path.exists(folder):
        folder = os.path.dirname(folder)
    if not os.path.isdir(folder):
        raise argparse.ArgumentTypeError(f"{text}: {folder} is a file, not a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise argparse.ArgumentTypeError(f"{text}: {folder} cannot be written; see its permissions")


def refuse_beside(args: argparse.Namespace, reason: str, *options: str) -> None:
    """Raise BadInput for the first of the options that was given: beside what else was, it would have no effect."""
    for option in options:
        if option in args.given:
            raise BadInput(f"{option}: has no effect {reason}; leave it out")


def add_replace(parser: argparse.ArgumentParser) -> None:
    """--replace, for a command that fills a folder."""
    parser.add_argument(
        "--replace", action="store_true",
        help="in --out, replace what this command made there with other options",
    )  # fmt: skip


def integers(text: str) -> list[int]:
    """ "3,1,0" → [3, 1, 0]: the type of an option that takes whole numbers, one or more."""
    return [natural(part) for part in text.split(",")]
