"""The device to compute on."""

import re

from ttsnap.errors import BadInput

DEVICE = re.compile(r"auto|cpu|(cuda|mps|xpu)(:\d{1,3})?")


def check_device(device: object, key: str = "device") -> None:
    """Raise BadInput unless a tensor can be put on `device`."""
    if not DEVICE.fullmatch(str(device)):
        raise BadInput(f"{key}: {device} is no device; give cpu, cuda, cuda:1, … or auto")
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        first = f"{type(error).__name__}: {error}".splitlines()[0]
        raise BadInput(f"{key}: {device} cannot be used here ({first})") from None
