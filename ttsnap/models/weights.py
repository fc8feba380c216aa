"""What holds for the weights of any model, whatever library opens them."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from torch import nn

from ttsnap.errors import BadInput


def check_finite(where: str | Path, module: nn.Module) -> None:
    """Raise BadInput for weights that are no numbers, of a broken file or a dtype too narrow for them."""
    for name, value in module.named_parameters():
        if value.is_floating_point() and value.numel() and not value.is_meta:
            if not all(edge.isfinite() for edge in value.detach().aminmax()):
                raise BadInput(f"{where}: {name} holds values that are no finite numbers")


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Within the block diffusers and transformers log errors alone: what they warn of, we say in one line."""
    loggers = [logging.getLogger(name) for name in ("diffusers", "transformers")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
