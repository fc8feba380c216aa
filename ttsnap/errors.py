"""The two errors and the notices, one line each for the user, and “did you mean”."""

import contextlib
import difflib
import functools
import warnings
from collections.abc import Callable, Iterable, Iterator


class TtsnapError(Exception):
    """A run that could not be finished (exit status 1)."""


class BadInput(TtsnapError):
    """A file, option or config key that the user must change (exit status 2)."""


@contextlib.contextmanager
def foreign_content(name: object, what: str, remedy: str) -> Iterator[None]:
    """Turn any error that a file's content causes within the block into a one-line BadInput.

    For formats that can be wrong in more ways than a reader can check: types, shapes, missing keys. Errors of the
    operating system (an OSError with a number: permission, lock, full disk) pass through.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, TtsnapError) or (isinstance(error, OSError) and error.errno):
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


def did_you_mean(word: object, known: Iterable[object]) -> str:
    """ "; did you mean flux-dev?" to end an error message with; "" when nothing is close to `word`."""
    if not isinstance(word, str):
        return ""
    names = {str(name).lower(): str(name) for name in known}
    word = word.lower()
    near = difflib.get_close_matches(word, names, 1, 0.6)
    near = near or sorted(name for name in names if len(word) > 1 and word in name)
    return f"; did you mean {names[near[0]]}?" if near else ""


class Notice(UserWarning):
    """Something the user should know about a run that continues."""


class CutPrompt(Notice):
    """A prompt is longer than its reader can take; its end has no effect."""


def warn_cut(prompt: str, tokens: int, limit: int, reader: str) -> None:
    """Warn when a prompt has more `tokens` than the `limit` that `reader` reads."""
    if tokens > limit:
        short = prompt if len(prompt) <= 60 else f"{prompt[:40]} … {prompt[-16:]}"
        message = CutPrompt(f"prompt {short!r} has {tokens} tokens; {reader} reads the first {limit}")
        message.about = (prompt, reader)  # two prompts may look the same when shortened
        warnings.warn(message, stacklevel=3)
