"""Saved states of long trainings: a corrupt one is ignored, one that the system does not let us read is an error."""

import sys
from collections.abc import Mapping
from pathlib import Path

import torch

from ttsnap.errors import BadInput
from ttsnap.storage.files import one_line, why_unreadable


def read_state(
    path: str | Path | None, identity: str, parts: tuple[str, ...], parameters: Mapping[str, torch.Tensor]
) -> dict | None:
    """The state that the run `identity` saved at `path`: {part: value} with tensors on the CPU.

    The first part holds the weights, named and shaped like `parameters`. None, so that training starts over, if there
    is no state, it is of another run, or (with a note on stderr) it is corrupt. Raises BadInput for a state that may be
    intact but cannot be read.
    """
    if path is None or not Path(path).exists():
        return None
    try:
        with open(path, "rb") as file:
            saved = torch.load(file, weights_only=True, map_location="cpu")
        if saved["identity"] != identity:
            return None
        found = {name: value.shape for name, value in saved[parts[0]].items()}
        if found != {name: value.shape for name, value in parameters.items()}:
            raise ValueError("it holds other weights")
        return {part: saved[part] for part in parts}
    except Exception as error:  # torch raises whatever it likes on broken bytes
        if cause := why_unreadable(path, error):
            raise BadInput(f"{path}: {cause}") from None
        print(f"{path}: a broken saved state ({one_line(error)}); training starts over", file=sys.stderr)
        return None
