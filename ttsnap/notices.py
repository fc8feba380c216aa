"""Warnings for whoever runs a command: the command line shows them as plain lines, a library caller filters them."""

import warnings


class Notice(UserWarning):
    """What a person should know of a run that goes on all the same."""


class CutPrompt(Notice):
    """A prompt is longer than what reads it can take; its end has no effect."""


def warn_cut(prompt: str, tokens: int, limit: int, reader: str) -> None:
    """Warn that `reader` reads only the first `limit` of a prompt's `tokens`; nothing where they are no more."""
    if tokens > limit:
        short = prompt if len(prompt) <= 60 else f"{prompt[:40]} … {prompt[-16:]}"
        message = CutPrompt(
            f"prompt {short!r} has {tokens} tokens; {reader} reads the first {limit}"
        )
        message.about = (prompt, reader)  # two prompts may look the same when shortened
        warnings.warn(message, stacklevel=3)
