"""The two errors a person is meant to read: one line each, with the thing at fault and what to do."""

import contextlib
import functools
from collections.abc import Callable, Iterator


class TtsnapError(Exception):
    """A run that could not be finished (exit status 1)."""


class BadInput(TtsnapError):
    """A file, option or config key that has to be changed by the person who gave it (exit status 2)."""


@contextlib.contextmanager
def foreign_content(name: object, what: str, remedy: str) -> Iterator[None]:
    """Within the block, what the content of a file makes a reader stumble over becomes a BadInput of one line.

    For formats that can be wrong in more ways than a reader can ask for: a type, a shape, a missing key. Not for what
    the system says of the file (an OSError with a number: permission, lock, full disk).
    """
    try:
        yield
    except TtsnapError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno:
            raise
        text = (str(error).splitlines() or [""])[0][:200]
        raise BadInput(f"{name}: not {what} ({type(error).__name__}: {text}); {remedy}") from error


def reads(what: str, remedy: str) -> Callable:
    """Decorate a reader, whose first argument is the path, with `foreign_content`."""

    def decorate(reader: Callable) -> Callable:
        @functools.wraps(reader)
        def read(path, *rest, **more):
            with foreign_content(path, what, remedy):
                return reader(path, *rest, **more)

        return read

    return decorate
