"""What learns: full weights or adapters; their moving average; and adapters merged for a checkpoint."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from ttsnap.models.adapters import let_learn


def trainable(module: nn.Module, lora: dict | None = None) -> dict[str, nn.Parameter]:
    """Let a generator learn: all weights, or new adapters on its linear layers and convolutions; see `let_learn`.

    It stays in eval mode, with running statistics frozen, so that no sample depends on the rest of its batch.
    """
    return let_learn(module.eval(), lora, (nn.Linear, nn.Conv2d))


@contextmanager
def merged(module: nn.Module) -> Iterator[None]:
    """Within the block, the adapters are merged into the module's layers, as if there were none."""
    layers = [(name, m) for name, m in module.named_modules() if hasattr(m, "lora_A")]
    kept = {name: layer.get_base_layer().weight.detach().clone() for name, layer in layers}
    for name, layer in layers:
        layer.merge()
        module.set_submodule(name, layer.get_base_layer())
    try:
        yield
    finally:
        for name, layer in layers:
            module.set_submodule(name, layer)
            layer.merged_adapters.clear()
            with torch.no_grad():
                layer.get_base_layer().weight.copy_(kept[name])  # unmerging would round


class Average:
    """An exponential moving average of tensors of a module, such as its parameters.

    decay: per update; at most n / (n + warm_up) at the nth, so that the first values are soon forgotten.
    """

    def __init__(self, tensors: dict[str, torch.Tensor], decay: float, warm_up: int = 19):
        self.tensors, self.decay, self.warm_up, self.updates = tensors, decay, warm_up, 0
        self.values = {name: value.detach().clone() for name, value in tensors.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Move towards the current tensors."""
        self.updates += 1
        decay = min(self.decay, self.updates / (self.updates + self.warm_up))
        for name, value in self.tensors.items():
            self.values[name].lerp_(value, 1 - decay)

    def write(self) -> None:
        """Give the tensors their averages."""
        _copy(self.values, self.tensors)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within the block, the tensors hold their averages."""
        now = {name: value.detach().clone() for name, value in self.tensors.items()}
        self.write()
        try:
            yield
        finally:
            _copy(now, self.tensors)

    def state_dict(self) -> dict:
        """The averages, and how many updates they have had."""
        return {"values": self.values, "updates": self.updates}

    def load_state_dict(self, state: dict) -> None:
        """Restore what `state_dict` returned."""
        _copy(state["values"], self.values)
        self.updates = state["updates"]


@torch.no_grad()
def _copy(values: dict[str, torch.Tensor], tensors: dict[str, torch.Tensor]) -> None:
    for name, value in tensors.items():
        value.copy_(values[name])
