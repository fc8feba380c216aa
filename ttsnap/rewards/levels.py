"""Level checkpoints: full weights or LoRA adapters of a reward, as safetensors, swapped in place.

A level is a look: a step, or the name of a draft.
"""

import json
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from ttsnap.errors import BadInput
from ttsnap.models.adapters import let_learn
from ttsnap.pruning.schedule import Look, look_name
from ttsnap.rewards.base import Reward
from ttsnap.storage.checkpoints import read_about
from ttsnap.storage.files import reading, replacing
from ttsnap.storage.provenance import check_same


def make_trainable(reward: Reward, lora: dict | None) -> dict[str, torch.nn.Parameter]:
    """Let the reward's weights learn: all of them, or new adapters on every linear layer; see `let_learn`."""
    if lora:
        reward.adapters = getattr(reward, "adapters", lora)
    return let_learn(reward, lora, (torch.nn.Linear,))


def save_level(path: str | Path, parameters: dict[str, torch.Tensor], about: dict) -> None:
    """Write a level's checkpoint, with `about` in its metadata as JSON.

    about: level, lora, version, figures; `reward`: what the base reward was made from; `images`: what made the training
    images.
    """
    tensors = {name: value.detach().cpu().contiguous() for name, value in parameters.items()}
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={"ttsnap": json.dumps(about, sort_keys=True)})


def by_level(paths: Iterable[str]) -> dict[Look, str]:
    """{level: checkpoint}. Raises BadInput for two checkpoints of one level."""
    levels: dict[Look, str] = {}
    for path in paths:
        level = read_about(path)["level"]
        if level in levels:
            raise BadInput(f"--checkpoint: {levels[level]} and {path} are both of {look_name(level)}")
        levels[level] = path
    return levels


def load_level(reward: Reward, path: str | Path) -> dict:
    """Swap a level's weights into `reward` (adapters are added on first use); returns its metadata."""
    about = read_about(path)
    check_same(path, about["reward"], "this reward", reward.made_from, "finetune it from this one")
    adapters = getattr(reward, "adapters", None)
    if any("lora_" in name for name, _ in reward.named_parameters()) and adapters != about["lora"]:
        raise BadInput(
            f"{path}: has LoRA {about['lora']}, a checkpoint before it {adapters}; finetune all levels alike"
        )
    if about["lora"]:
        make_trainable(reward, about["lora"])
        reward.requires_grad_(False)
    parameters = dict(reward.named_parameters())
    wanted = {name for name in parameters if not about["lora"] or "lora_" in name}
    with reading(path, "damaged"), safe_open(path, framework="pt") as file:
        if set(file.keys()) != wanted:
            odd = sorted(set(file.keys()) ^ wanted)[0]
            raise BadInput(f"{path}: weights are of another reward (first difference: {odd})")
        with torch.no_grad():
            for name in wanted:
                value = file.get_tensor(name)
                if value.shape != parameters[name].shape:
                    raise BadInput(
                        f"{path}: {name} is {list(value.shape)}, the reward's {list(parameters[name].shape)}"
                    )
                parameters[name].copy_(value)
    return about


class LevelWeights:
    """A reward with the weights of several levels in memory: `use` swaps them, reading no file.

    They are the adapters (LoRA), or a copy of the reward for each full checkpoint: on its device if half of the free
    memory suffices, else in main memory. Adapters in use are merged into the weights, so that reading with a level
    costs no more FLOP than with the base weights.
    """

    def __init__(self, reward: Reward, checkpoints: dict[Look, str | Path]):
        """checkpoints: level → file. Raises BadInput as `load_level` does. `reward` is changed in place."""
        self.reward, self.version = reward, {}
        loras = {path: read_about(path)["lora"] for path in checkpoints.values()}
        lora = next(iter(loras.values()), None)
        for path, other in loras.items():
            if other != lora:
                raise BadInput(f"{path}: has LoRA {other}, a checkpoint before it {lora}; finetune all levels alike")
        if lora:
            make_trainable(reward, lora)
            reward.requires_grad_(False)
        parameters = reward.named_parameters() if checkpoints else ()
        self.parameters = {name: value for name, value in parameters if not lora or "lora_" in name}
        self.place = self._place(len(checkpoints) + 1)
        self.weights = {None: self._copy()}
        for level, path in checkpoints.items():
            self.version[level] = load_level(reward, path)["version"]
            self.weights[level] = self._copy()
        layers = [module for module in reward.modules() if lora and hasattr(module, "lora_A")]
        self.adapted = [(layer, layer.get_base_layer().weight.data) for layer in layers]
        for layer in layers:
            layer.merged_adapters = list(layer.active_adapters)  # its forward pass is that of the base layer alone
        self.use(None)

    @torch.inference_mode(False)
    def use(self, level: Look | None) -> None:
        """Give the reward the weights of a level; None: its base weights."""
        for name, value in self.weights[level].items():
            self.parameters[name].data = value.to(self.device)
        for layer, base in self.adapted:
            added = [] if level is None else [layer.get_delta_weight(name) for name in layer.active_adapters]
            layer.get_base_layer().weight.data = sum(added, base)

    @property
    def device(self) -> torch.device:
        return next(self.reward.parameters()).device

    @torch.inference_mode(False)
    def _copy(self) -> dict[str, torch.Tensor]:
        return {name: parameter.detach().to(self.place, copy=True) for name, parameter in self.parameters.items()}

    def _place(self, copies: int) -> torch.device:
        size = sum(p.numel() * p.element_size() for p in self.parameters.values()) * copies
        if self.device.type == "cuda" and size > torch.cuda.mem_get_info(self.device)[0] / 2:
            return torch.device("cpu")
        return self.device
