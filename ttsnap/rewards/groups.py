"""Images of several candidates of several prompts, and scoring them all with one reward."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ttsnap.rewards.base import Reward


@dataclass(frozen=True)
class Groups:
    """Images of one step with their targets. images(p) gives uint8 [C,H,W,3]; targets float32 [P,C]."""

    prompts: list[str]
    images: Callable[[int], np.ndarray]
    targets: np.ndarray

    def batch(self, numbers: Sequence[int], device) -> tuple[torch.Tensor, list[str]]:
        """Images float [n·C,3,H,W] in [0,1] and their prompts, for some of the prompts."""
        images = torch.from_numpy(np.concatenate([self.images(p) for p in numbers])).to(device)
        return images.permute(0, 3, 1, 2).float() / 255, [
            self.prompts[p] for p in numbers for _ in range(self.targets.shape[1])
        ]


@torch.inference_mode()
def predict(reward: Reward, data: Groups, device, batch_size: int = 64) -> np.ndarray:
    """Rewards float32 [P,C] of every image."""
    reward.eval()
    numbers, size, out = range(len(data.prompts)), max(1, batch_size // data.targets.shape[1]), []
    for start in numbers[::size]:
        images, prompts = data.batch(numbers[start : start + size], device)
        with autocast(device):
            out.append(reward(images, prompts).float().cpu())
    return torch.cat(out).view(data.targets.shape).numpy()


def autocast(device) -> torch.autocast:
    """bfloat16 where the hardware multiplies it; float32 elsewhere."""
    kind = torch.device(device).type
    fast = torch.cuda.is_bf16_supported() if kind == "cuda" else torch.cpu._is_amx_tile_supported()
    return torch.autocast(kind, torch.bfloat16, enabled=fast)
