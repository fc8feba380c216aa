"""The costs of a reward tensor's candidates, and their form in the settings of a result."""

from collections.abc import Mapping, Sequence

from ttsnap.errors import BadInput
from ttsnap.pruning.costs import Costs
from ttsnap.storage.tensor import RewardTensor


def costs_of(
    tensors: Sequence[RewardTensor], denoise: float | None = None, look: float | None = None, accounting: str = "exact"
) -> Costs:
    """Costs in TFLOP: those given, otherwise the attributes of the first tensor.

    A look then also includes the rewards of the other tensors; one that is given also counts for the final image.
    Raises BadInput for a cost that is neither given nor known.
    """

    def known(name: str) -> float:
        value = tensors[0].attrs.get(f"{name}_tflop")
        if not isinstance(value, int | float):
            raise BadInput(f"--{name}-cost: not given, and the tensor has no {name}_tflop; give it in TFLOP")
        return float(value)

    denoise, final = known("denoise") if denoise is None else denoise, None
    if look is None:
        others = sum(other.attrs.get("reward_tflop", 0) for other in tensors[1:])
        look = known("look") + others
        final = known("final_look") + others if "final_look_tflop" in tensors[0].attrs else None
    drafts = {name: float(about["tflop"]) for name, about in tensors[0].attrs.get("drafts", {}).items()}
    return Costs(float(denoise), float(look), len(tensors[0].steps), accounting, final, drafts)


def costs_to_json(costs: Costs) -> dict:
    """The keys by which the settings of a result record its costs; `costs_from` reads them."""
    found = {"denoise_cost": costs.denoise, "look_cost": costs.look, "accounting": costs.accounting}
    found |= {"final_look_cost": costs.final} if costs.final is not None else {}
    return found | ({"draft_costs": dict(costs.drafts)} if costs.drafts else {})


def costs_from(settings: Mapping, num_steps: int, accounting: str | None = None) -> Costs:
    """The costs in the settings of a result, counted as there or by another accounting."""
    return Costs(
        settings["denoise_cost"],
        settings["look_cost"],
        num_steps,
        accounting or settings["accounting"],
        settings.get("final_look_cost"),
        settings.get("draft_costs", {}),
    )
