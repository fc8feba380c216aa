"""--device and --threads, and what they mean; apart from the other options, as torch is at work here."""

import argparse

from ttsnap.commands.options import MOST_THREADS, whole
from ttsnap.samplers.device import DEVICE, check_device


def device(text: str) -> str:
    """The type of --device; whether it is there, `pick_device` says."""
    if not DEVICE.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is none; give cpu, cuda, cuda:1, … or auto")
    return text


def add_device(parser: argparse.ArgumentParser) -> None:
    """--device and --threads."""
    parser.add_argument(
        "--device", type=device, default="auto", help="cpu, cuda, cuda:1, …; auto: a GPU if any"
    )
    parser.add_argument(
        "--threads", type=whole(0, MOST_THREADS), default=0, help="CPU threads; 0: as torch chooses"
    )


def pick_device(args: argparse.Namespace) -> str:
    """The device asked for; also sets the number of threads and makes results repeatable.

    Imports torch: all that can be checked without it is checked before. Raises BadInput for a device that is not there.
    """
    import torch

    if args.threads > 0:
        torch.set_num_threads(args.threads)
    torch.backends.cudnn.deterministic = True
    if args.device != "auto":
        check_device(args.device, "--device")
        return args.device
    return "cuda" if torch.cuda.is_available() else "cpu"


def has_fast_bfloat16(device: str) -> bool:
    """Whether the hardware multiplies bfloat16 (emulated, it would be slower than float32)."""
    import torch

    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_amx_tile_supported()
