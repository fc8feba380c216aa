"""Opening a pipeline's parts so that no weight is made up, and placing them on a device."""

import contextlib
import importlib
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import get_args

import torch
from safetensors import safe_open
from torch import nn

from ttsnap.errors import BadInput
from ttsnap.models.checks import MODELS, check_kind, check_tokenizer, parts_of
from ttsnap.models.weights import quiet_libraries
from ttsnap.settings.model import Model
from ttsnap.storage.files import one_line

OFFLOADS = get_args(Model.model_fields["offload"].annotation)
LORA_LAYER = re.compile(r"lora_A\.|lora_down\.|lora\.down\.")


def open_models(path: str | Path, family: str, dtype: torch.dtype) -> dict[str, nn.Module]:
    """The models of a diffusers folder or hub id. Raises BadInput, naming part and tensor, where one lacks weights.

    diffusers leaves missing tensors uninitialised, transformers draws them at random.
    """
    return {part: _open(path, part, name, dtype) for part, name in MODELS[family].items()}


def _open(path: str | Path, part: str, name: str, dtype: torch.dtype) -> nn.Module:
    library = "transformers" if part.startswith("text_encoder") else "diffusers"
    model_class = getattr(importlib.import_module(library), name)
    options = {"dtype" if library == "transformers" else "torch_dtype": dtype}
    model, found = model_class.from_pretrained(
        str(path), subfolder=part, use_safetensors=True, output_loading_info=True, **options
    )
    for tensor in sorted(found["missing_keys"]):
        raise BadInput(f"{path}: {part}: {tensor} is missing; download it again")
    # Not checked for text encoders: their files may hold a whole CLIP.
    for tensor in sorted(found["unexpected_keys"]) if library == "diffusers" else ():
        raise BadInput(f"{path}: {part}: {tensor} is not of this model; its config is of another")
    return model


def check_open(where: str, family: str, pipe) -> None:
    """`check_kind` of an open pipeline, and a check that its tokenizers fit its text encoders."""
    parts = {part: getattr(pipe, part, None) for part in parts_of(family)}
    parts = {name: getattr(part, "_orig_mod", part) for name, part in parts.items()}  # as before torch.compile
    classes = {name: None if part is None else type(part).__name__ for name, part in parts.items()}
    configs = {name: _config(part) for name, part in parts.items()}
    check_kind(where, family, classes, configs | {"": dict(pipe.config)})
    for part in parts:
        if part.startswith("tokenizer"):
            encoder = configs[part.replace("tokenizer", "text_encoder")]
            check_tokenizer(f"{where}: {part}", len(parts[part]), encoder["vocab_size"])


def _config(part) -> Mapping:
    config = getattr(part, "config", None) or {}
    return config.to_dict() if hasattr(config, "to_dict") else dict(config)


def fuse_loras(folder: str | Path, pipe) -> None:
    """Fuse the LoRAs beside model_index.json into the weights. Raises BadInput for one that does not fit."""
    for file in sorted(Path(folder).glob("*lora.safetensors")):
        load_adapter(pipe, file, "fused")
        pipe.fuse_lora()
        pipe.unload_lora_weights()


def load_adapter(pipe, file: str | Path, name: str) -> None:
    """Load a LoRA under a name, switched on. Raises BadInput for one that does not fit the pipeline's models."""
    try:
        with safe_open(file, framework="pt") as tensors:
            held = sum(bool(LORA_LAYER.search(key)) for key in tensors.keys())
        with quiet_libraries():
            pipe.load_lora_weights(str(file), adapter_name=name)
        added = sum(name in layer.lora_A for layer in adapter_layers(pipe))
        if not held or added < held:
            raise ValueError(f"{added} of its {held} layers are of this model")
    except Exception as error:  # a foreign file can be broken in any way
        raise BadInput(f"{file}: this LoRA does not fit ({one_line(error)})") from error


def adapter_layers(pipe) -> list[nn.Module]:
    """The layers of a pipeline's models that hold LoRAs."""
    models = [model for model in pipe.components.values() if isinstance(model, nn.Module)]
    return [layer for model in models for layer in _lora_layers(model)]


def loras_on(model: nn.Module) -> list[str]:
    """The names of a model's LoRAs that are on."""
    active = [name for layer in _lora_layers(model) if not layer.disable_adapters for name in layer.active_adapters]
    return list(dict.fromkeys(active))


def _lora_layers(model: nn.Module) -> list[nn.Module]:
    return [layer for layer in model.modules() if hasattr(layer, "lora_A")]


@contextlib.contextmanager
def adapters_on(pipe, choose: Callable[[list[str], list[str]], list[str]]) -> Iterator[None]:
    """Within the block, in each layer the LoRAs are on that `choose` picks of those it holds; their scales stay.

    choose(held, active): names of LoRAs.
    """
    layers = adapter_layers(pipe)
    before = [(list(layer.active_adapters), layer.disable_adapters) for layer in layers]
    try:
        for layer, (active, off) in zip(layers, before, strict=True):
            layer.set_adapter(choose(list(layer.lora_A), [] if off else active))
            layer.enable_adapters(True)
        yield
    finally:
        for layer, (active, off) in zip(layers, before, strict=True):
            layer.set_adapter(active)
            layer.enable_adapters(not off)


def place(pipe, denoiser: str, device, offload: str, compile: bool, slicing: bool) -> None:
    """Put a diffusers pipeline on a device.

    offload: "model" keeps only the active part in GPU memory, "sequential" only the active layer (least memory, but
    slow); neither has an effect on a CPU. compile: torch.compile the denoiser, which pays off from a few dozen
    candidates. slicing: the VAE decodes one image at a time.
    """
    if offload not in OFFLOADS:
        raise BadInput(f"offload: {offload!r} is not one of {', '.join(OFFLOADS)}")
    pipe.vae.to(memory_format=torch.channels_last)  # decodes a third faster, on CPU in bfloat16
    if slicing:
        pipe.vae.enable_slicing()
    if compile:
        getattr(pipe, denoiser).compile()
    if offload == "none" or torch.device(device).type == "cpu":
        pipe.to(device)
    elif offload == "model":
        pipe.enable_model_cpu_offload(device=device)
    else:
        pipe.enable_sequential_cpu_offload(device=device)
