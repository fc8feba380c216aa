"""Checks and logging for the weights of any model, whichever library opens them."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from torch import nn

from ttsnap.errors import BadInput


def check_finite(where: str | Path, module: nn.Module) -> None:
    """Raise BadInput for NaN or infinite weights, from a broken file or too narrow a dtype."""
    for name, value in module.named_parameters():
        if value.is_floating_point() and value.numel() and not value.is_meta:
            if not all(edge.isfinite() for edge in value.detach().aminmax()):
                raise BadInput(f"{where}: {name} holds values that are no finite numbers")


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Let diffusers and transformers log only errors within the block; callers report what they warn of in one line."""
    loggers = [logging.getLogger(name) for name in ("diffusers", "transformers")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
