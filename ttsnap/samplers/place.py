"""Where a pipeline's parts live, and how they run there."""

import torch

from ttsnap.errors import BadInput

OFFLOADS = ("none", "model", "sequential")


def place(pipe, denoiser: str, device, offload: str, compile: bool, slicing: bool) -> None:
    """Put a diffusers pipeline on a device.

    offload: "model" keeps in GPU memory only the part at work, "sequential" only the layer at work
    (slow, smallest); both leave a CPU run as it is. compile: torch.compile of the denoiser, worth it
    from some dozens of candidates on. slicing: the VAE decodes one image at a time.
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
