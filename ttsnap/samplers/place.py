"""Where a pipeline's parts live, and how they run there."""

from typing import get_args

import torch

from ttsnap.errors import BadInput
from ttsnap.settings.model import Model

OFFLOADS = get_args(Model.model_fields["offload"].annotation)


def place(pipe, denoiser: str, device, offload: str, compile: bool, slicing: bool) -> None:
    """Put a diffusers pipeline on a device.

    offload: "model" keeps only the part at work in GPU memory, "sequential" only the layer at work (least memory, but
    slow); on a CPU neither has an effect. compile: torch.compile the denoiser, which pays from some dozens of
    candidates on. slicing: the VAE decodes one image at a time.
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
