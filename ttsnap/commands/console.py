"""What a command shows at a terminal: plain lines, one line for an error, whatever happens to the process or pipe."""

import contextlib
import os
import sys
import warnings
from collections.abc import Iterable, Iterator

from ttsnap.errors import BadInput, Notice, TtsnapError

TRACEBACK = "TTSNAP_TRACEBACK"  # environment variable: raise an unexpected error instead of printing one line


class _Stream:
    """A standard stream whose reader may leave (`ttsnap … | head`): the rest is discarded and the work goes on."""

    def __init__(self, stream):
        self._stream, self.failure = stream, None

    def __getattr__(self, name: str):
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            self.discard(error)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self.discard(error)

    def discard(self, error: OSError) -> None:
        """Write nothing from now on; a reader that left is no failure."""
        if not isinstance(error, BrokenPipeError):
            self.failure = error
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)


@contextlib.contextmanager
def plain_streams() -> Iterator[None]:
    """Within the block any text can be printed, and no file can take the place of a closed stream."""
    while (spare := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(spare)
    before = sys.stdout, sys.stderr
    streams = []
    for stream in before:
        stream = stream or open(os.devnull, "w", encoding="utf-8")
        with contextlib.suppress(AttributeError, ValueError):  # a caller's replacement, or a closed stream
            stream.reconfigure(errors="backslashreplace")
        streams.append(_Stream(stream))
    sys.stdout, sys.stderr = streams
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def flush() -> None:
    """Flush what was printed. Raises TtsnapError where it cannot be written, as on a full disk."""
    sys.stdout.flush()
    if failure := sys.stdout.failure:
        raise TtsnapError(f"standard output cannot be written ({failure.strerror})")


def print_notes(notes: Iterable[str]) -> None:
    """Print each note as a line on standard error."""
    for note in notes:
        print(f"note: {note}", file=sys.stderr)


@contextlib.contextmanager
def plain_warnings() -> Iterator[None]:
    """Within the block a `Notice` is one plain line per subject, and deprecations in libraries are not shown."""
    shown, otherwise = set(), warnings.showwarning

    def show(message, category, *rest, **more):
        if not issubclass(category, Notice):
            return otherwise(message, category, *rest, **more)
        about = getattr(message, "about", str(message))
        if about not in shown:
            shown.add(about)
            tqdm = sys.modules.get("tqdm")  # a progress bar may be on the line
            (tqdm.tqdm.write if tqdm else print)(f"note: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        if not sys.warnoptions:
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("always", Notice)
        warnings.showwarning = show
        yield


def outcome(error: BaseException) -> tuple[int, str]:
    """The exit status and the line of a command that ends with an error. TTSNAP_TRACEBACK: raises an unexpected one."""
    if isinstance(error, BadInput):
        return 2, str(error)
    if isinstance(error, TtsnapError):
        return 1, str(error)
    if _interrupted(error):
        return 130, "interrupted"
    if isinstance(error, MemoryError) or "out of memory" in str(error):
        return 1, "memory ran out; lower the batch size or the counts"
    if os.environ.get(TRACEBACK):
        raise error
    if isinstance(error, OSError) and error.filename and error.strerror:
        return 1, f"{os.fsdecode(error.filename)}: {error.strerror}"
    text = (str(error).splitlines() or [""])[0]
    return 1, f"unexpected {type(error).__name__}: {text[:300]} ({TRACEBACK}=1 shows where)"


def _interrupted(error: BaseException | None) -> bool:
    """Whether Ctrl-C is behind an error: some libraries turn it into an error of their own."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None
