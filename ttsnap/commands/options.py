"""Options that several commands share, and what they mean."""

import argparse


def add_device(parser: argparse.ArgumentParser) -> None:
    """--device and --threads."""
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, …; auto: a GPU if any")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: as torch chooses")


def add_replace(parser: argparse.ArgumentParser) -> None:
    """--replace, for a command that fills a folder."""
    parser.add_argument(
        "--replace", action="store_true",
        help="in --out, replace what this command made there with other options",
    )  # fmt: skip


def pick_device(args: argparse.Namespace) -> str:
    """The device asked for; also sets the number of threads and makes results repeatable."""
    import torch

    if args.threads > 0:
        torch.set_num_threads(args.threads)
    torch.backends.cudnn.deterministic = True
    if args.device != "auto":
        return args.device
    return "cuda" if torch.cuda.is_available() else "cpu"


def has_fast_bfloat16(device: str) -> bool:
    """Whether the hardware multiplies bfloat16 (emulated, it would be slower than float32)."""
    import torch

    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_amx_tile_supported()


def integers(text: str) -> list[int]:
    """ "3,1,0" → [3, 1, 0], for argparse."""
    return [int(part) for part in text.split(",") if part.strip()]
