"""What a candidate of a reward tensor costs."""

from collections.abc import Sequence

from ttsnap.errors import BadInput
from ttsnap.pruning.costs import Costs
from ttsnap.storage.tensor import RewardTensor


def costs_of(
    tensors: Sequence[RewardTensor], denoise: float | None = None, look: float | None = None, accounting: str = "exact"
) -> Costs:
    """The costs given in TFLOP; those that are not, from the attributes of the first tensor.

    Then a look also reads the rewards of the other tensors. Raises BadInput where a cost is neither given nor known.
    """
    values = []
    for name, value in (("denoise", denoise), ("look", look)):
        attribute = f"{name}_tflop"
        value = tensors[0].attrs.get(attribute) if value is None else value
        if not isinstance(value, int | float):
            raise BadInput(f"--{name}-cost: not given, and the tensor has no {attribute}; give it in TFLOP")
        values.append(float(value))
    if look is None:
        values[1] += sum(other.attrs.get("reward_tflop", 0) for other in tensors[1:])
    return Costs(*values, len(tensors[0].steps), accounting)
