"""Level checkpoints: full weights or LoRA adapters of a reward, as safetensors, swapped in place."""

import json
from pathlib import Path

import torch
from peft import LoraConfig, inject_adapter_in_model
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ttsnap.errors import BadInput
from ttsnap.files import replacing
from ttsnap.rewards.base import Reward


def make_trainable(reward: Reward, lora: dict | None) -> dict[str, torch.nn.Parameter]:
    """Let the reward's weights learn: all of them, or new adapters on every linear layer (peft).

    lora: {"rank", "alpha"} or None. Returns the parameters that learn, by name.
    """
    if lora and not any("lora_" in name for name, _ in reward.named_parameters()):
        config = LoraConfig(
            r=lora["rank"],
            lora_alpha=lora["alpha"],
            target_modules="all-linear",
            init_lora_weights=True,
        )
        inject_adapter_in_model(config, reward)
    learning = {}
    for name, parameter in reward.named_parameters():
        parameter.requires_grad_(not lora or "lora_" in name)
        if parameter.requires_grad:
            learning[name] = parameter
    return learning


def save_level(path: str | Path, parameters: dict[str, torch.Tensor], about: dict) -> None:
    """Write a level's checkpoint. `about` (level, lora, figures) goes into its metadata as JSON."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in parameters.items()}
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={"ttsnap": json.dumps(about, sort_keys=True)})


def read_about(path: str | Path) -> dict:
    """The metadata of a level's checkpoint. Raises BadInput when the file is not one."""
    try:
        with safe_open(path, framework="pt") as file:
            return json.loads((file.metadata() or {})["ttsnap"])
    except FileNotFoundError:
        raise BadInput(f"{path}: no such checkpoint") from None
    except (SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise BadInput(f"{path}: not a level checkpoint of ttsnap ({error})") from None


def load_level(reward: Reward, path: str | Path) -> dict:
    """Swap a level's weights into `reward` (adapters are added on first use); returns its metadata."""
    about = read_about(path)
    if about["lora"]:
        make_trainable(reward, about["lora"])
        reward.requires_grad_(False)
    own = dict(reward.named_parameters())
    wanted = {name for name in own if not about["lora"] or "lora_" in name}
    with safe_open(path, framework="pt") as file:
        if set(file.keys()) != wanted:
            odd = sorted(set(file.keys()) ^ wanted)[0]
            raise BadInput(f"{path}: weights are of another reward (first difference: {odd})")
        with torch.no_grad():
            for name in wanted:
                own[name].copy_(file.get_tensor(name))
    return about
