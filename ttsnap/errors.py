"""The two errors a person is meant to read: one line each, with the thing at fault and what to do."""


class TtsnapError(Exception):
    """A run that could not be finished (exit status 1)."""


class BadInput(TtsnapError):
    """A file, option or config key that has to be changed by the person who gave it (exit status 2)."""
