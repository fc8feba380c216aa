"""Counting the FLOP of a call: 2 per multiply-add, attention counted."""

from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode


def count_flop(function: Callable, *args, **kwargs) -> int:
    """FLOP of one call in matrix products, convolutions and attention; elementwise work is left out."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        function(*args, **kwargs)
    return counter.get_total_flops()
