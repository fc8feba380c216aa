"""--device and --threads, and how they take effect."""

from typing import Annotated

from pydantic import AfterValidator, Field

from ttsnap.models.device import DEVICE, check_device
from ttsnap.settings.section import Section


def _device(text: str) -> str:
    """Check the form of --device; `pick_device` checks whether it exists."""
    if not DEVICE.fullmatch(text):
        raise ValueError(f"{text!r} is no device; give cpu, cuda, cuda:1, … or auto")
    return text


class OnDevice(Section):
    """Where a command computes."""

    device: Annotated[str, AfterValidator(_device)] = Field(
        "auto", description="cpu, cuda, cuda:1, …; auto: a GPU if there is one"
    )
    threads: int = Field(0, ge=0, le=1024, description="CPU threads; 0: torch's choice")


def pick_device(options: OnDevice) -> str:
    """The device to use; also sets the number of threads and makes results repeatable.

    Imports torch, so call it after every check that needs no torch. Raises BadInput for a device that is not there.
    """
    import torch

    if options.threads > 0:
        torch.set_num_threads(options.threads)
    torch.backends.cudnn.deterministic = True
    if options.device != "auto":
        check_device(options.device, "--device")
        return options.device
    return "cuda" if torch.cuda.is_available() else "cpu"


def has_fast_bfloat16(device: str) -> bool:
    """Whether the hardware multiplies bfloat16; emulated, it is slower than float32."""
    import torch

    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_amx_tile_supported()
