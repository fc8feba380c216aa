"""Whether a pipeline's folder held all weights: what is missing there, its libraries make up or leave empty."""

from math import prod
from pathlib import Path

from safetensors import safe_open
from torch import nn

from ttsnap.errors import BadInput


def check_whole(path: str | Path, pipe) -> None:
    """Raise BadInput, naming the part, when a part of `pipe`, opened from the folder `path`, lacks weights.

    diffusers leaves missing tensors without numbers; transformers makes them up, so those are counted.
    """
    for part, module in pipe.components.items():
        if not isinstance(module, nn.Module):
            continue
        for name, parameter in module.named_parameters():
            if parameter.is_meta:
                raise BadInput(f"{path}: {part}: {name} is missing; download it again")
        held = sum(_numbers(file) for file in Path(path, part).glob("*.safetensors"))
        wanted = sum(parameter.numel() for parameter in module.parameters())
        if 0 < held < wanted:
            raise BadInput(
                f"{path}: {part}: {wanted - held} weights are missing; download it again"
            )


def _numbers(file: Path) -> int:
    """How many numbers a safetensors file holds; its head says it."""
    with safe_open(file, framework="pt") as tensors:
        return sum(prod(tensors.get_slice(name).get_shape()) for name in tensors.keys())
