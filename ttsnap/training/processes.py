"""The processes of one training: which part each does, and what they exchange."""

import os
from dataclasses import dataclass

import torch
import torch.distributed as dist


@dataclass(frozen=True)
class Processes:
    """This process among all processes; alone by default."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def add_up(self, tensors: list[torch.Tensor]) -> None:
        """Replace each tensor by its sum over all processes."""
        if self.count > 1:
            flat = torch.cat([tensor.flatten() for tensor in tensors])
            dist.all_reduce(flat)
            for tensor, total in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
                tensor.copy_(total.view_as(tensor))

    def gather(self, values: dict) -> dict:
        """The union of all processes' tables, in every process."""
        if self.count == 1:
            return values
        tables: list = [None] * self.count
        dist.all_gather_object(tables, values)
        return {key: value for table in tables for key, value in table.items()}


ALONE = Processes()


def join(device: str) -> tuple[Processes, str]:
    """Join the processes that `accelerate launch` or torchrun started: (this one, its device).

    Without them, this process is alone and keeps `device`.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        return ALONE, device
    if torch.device(device).type == "cuda":
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    return Processes(dist.get_rank(), count), device
