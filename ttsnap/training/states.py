"""Saved states of long trainings: one whose bytes are broken is left out, one that cannot be read is an error."""

import sys
from collections.abc import Mapping
from pathlib import Path

import torch

from ttsnap.errors import BadInput
from ttsnap.storage.files import one_line, why_unreadable


def read_state(
    path: str | Path | None, identity: str, parts: tuple[str, ...], parameters: Mapping[str, torch.Tensor]
) -> dict | None:
    """The state that the run `identity` saved at `path`: a table of its `parts`, tensors on the CPU.

    The first part is a table of the weights, named and shaped like `parameters`. None, so that the run starts from
    its beginning, where there is no state, it is of another run, or (noted on stderr) its bytes are broken. Raises
    BadInput where it may be whole but cannot be read.
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
        note = f"{path}: a broken saved state ({one_line(error)}); training starts from its beginning"
        print(note, file=sys.stderr)
        return None
