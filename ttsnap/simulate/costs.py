"""The costs of a reward tensor's candidates."""

from collections.abc import Sequence

from ttsnap.errors import BadInput
from ttsnap.pruning.costs import Costs
from ttsnap.storage.tensor import RewardTensor


def costs_of(
    tensors: Sequence[RewardTensor], denoise: float | None = None, look: float | None = None, accounting: str = "exact"
) -> Costs:
    """Costs in TFLOP: those given, otherwise the attributes of the first tensor.

    A look then also includes the rewards of the other tensors. Raises BadInput for a cost that is neither given nor
    known.
    """

    def known(name: str) -> float:
        value = tensors[0].attrs.get(f"{name}_tflop")
        if not isinstance(value, int | float):
            raise BadInput(f"--{name}-cost: not given, and the tensor has no {name}_tflop; give it in TFLOP")
        return float(value)

    denoise = known("denoise") if denoise is None else denoise
    if look is None:
        look = known("look") + sum(other.attrs.get("reward_tflop", 0) for other in tensors[1:])
    return Costs(float(denoise), float(look), len(tensors[0].steps), accounting)
