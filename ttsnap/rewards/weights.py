"""Opening published weights: safetensors, or a torch file of plain tensors; never a pickle that runs code."""

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from ttsnap.errors import BadInput
from ttsnap.models.weights import check_finite
from ttsnap.storage.files import read_json, reading


def read_weights(path: str | Path, hint: str = "") -> dict[str, torch.Tensor]:
    """The tensors of a weights file, on the CPU; the inner `state_dict` where there is one.

    hint: how to get the file when it is missing. Raises BadInput for a missing or truncated file, an HTML page or other
    text saved as weights, and a pickle that would run code.
    """
    path = Path(path)
    with reading(path, "cannot be read", missing=hint), path.open("rb") as file:
        head = file.read(256)
    if head.lstrip().startswith((b"<", b"version https://git-lfs")) or not head:
        raise BadInput(f"{path}: a web page, a Git LFS pointer or an empty file, not weights; download it again")
    with reading(path, "cut short or not a weights file", "download it again"):
        try:
            if path.suffix == ".safetensors":
                return load_file(path)
            found = torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            if "global" not in str(error).lower():
                raise BadInput(f"{path}: not a weights file") from None
            raise BadInput(f"{path}: holds Python objects that could run code; only tensors are loaded") from None
    state = found.get("state_dict", found) if isinstance(found, Mapping) else found
    if not isinstance(state, Mapping) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise BadInput(f"{path}: holds no table of tensors")
    return dict(state)


def fill(module: nn.Module, state: Mapping[str, torch.Tensor], path: str | Path) -> None:
    """Give `module`, which may be on the meta device, exactly these weights as float32.

    Raises BadInput naming the first tensor that is missing, unknown or of another shape.
    """
    wanted = module.state_dict()
    for name in wanted:
        if name not in state:
            raise BadInput(f"{path}: {name} is missing; these weights are of another model")
        if wanted[name].shape != state[name].shape:
            raise BadInput(f"{path}: {name} is {list(state[name].shape)}, expected {list(wanted[name].shape)}")
    for name in state:
        if name not in wanted:
            raise BadInput(f"{path}: {name} is not known; these weights are of another model")
    floats = {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
    module.load_state_dict(floats, assign=True)
    check_finite(path, module)


def read_architecture(path: str | Path) -> dict:
    """A JSON file of an architecture. Raises BadInput when it is missing or not an object."""
    found = read_json(path)
    if not isinstance(found, dict):
        raise BadInput(f"{path}: not a table of an architecture")
    return found
