"""What learns: full weights or adapters; their moving average; and whole weights again for a checkpoint."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


def trainable(module: nn.Module, lora: dict | None = None) -> dict[str, nn.Parameter]:
    """Let a module learn: all weights, or new adapters on its linear layers and convolutions (peft).

    The module stays in eval mode: running statistics are frozen, so that samples and processes do not mix.
    lora: {"rank", "alpha"} or None. Returns the parameters that learn, by name.
    """
    module.eval()
    if lora:
        from peft import LoraConfig, inject_adapter_in_model

        layers = [n for n, m in module.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)]
        config = LoraConfig(r=lora["rank"], lora_alpha=lora["alpha"], target_modules=layers)
        inject_adapter_in_model(config, module)
    for name, value in module.named_parameters():
        value.requires_grad_(not lora or "lora_" in name)
    return {name: value for name, value in module.named_parameters() if value.requires_grad}


@contextmanager
def merged(module: nn.Module) -> Iterator[None]:
    """Within the block the module has its adapters added to its own layers, and looks as if it never had any."""
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
    """An exponential moving average of parameters."""

    def __init__(self, parameters: dict[str, nn.Parameter], decay: float):
        self.parameters, self.decay = parameters, decay
        self.values = {name: value.detach().clone() for name, value in parameters.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Move towards the parameters as they are."""
        for name, value in self.parameters.items():
            self.values[name].lerp_(value, 1 - self.decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within the block the parameters hold their averages."""
        now = {name: value.detach().clone() for name, value in self.parameters.items()}
        self._set(self.values)
        try:
            yield
        finally:
            self._set(now)

    @torch.no_grad()
    def _set(self, values: dict[str, torch.Tensor]) -> None:
        for name, value in self.parameters.items():
            value.copy_(values[name])
