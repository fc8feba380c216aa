"""Train all weights of a module, or low-rank adapters (LoRA, arXiv 2106.09685; by peft)."""

from torch import nn


def let_learn(module: nn.Module, lora: dict | None, layers: tuple[type[nn.Module], ...]) -> dict[str, nn.Parameter]:
    """Make all weights of a module trainable or, with lora, only adapters on its `layers`.

    lora: {"rank", "alpha"} or None. Existing adapters stay. Returns the trainable parameters by name.
    """
    if lora and not any("lora_" in name for name, _ in module.named_parameters()):
        from peft import LoraConfig, inject_adapter_in_model

        names = [name for name, layer in module.named_modules() if isinstance(layer, layers)]
        config = LoraConfig(r=lora["rank"], lora_alpha=lora["alpha"], target_modules=names)
        inject_adapter_in_model(config, module)
    for name, value in module.named_parameters():
        value.requires_grad_(not lora or "lora_" in name)
    return {name: value for name, value in module.named_parameters() if value.requires_grad}
