"""The model sizes, prompts and levels of the tests of the real search."""

from pathlib import Path

import torch
from levels import level_about

from ttsnap.rewards.base import load_reward
from ttsnap.rewards.levels import make_trainable, save_level

STEPS, SIZE = 5, {"height": 32, "width": 32}
PROMPTS = ["a red circle", "two cats", "日本の猫"]
CLIP = "embedded:shapes-clip"


def level_files(folder: Path, lora: dict | None, levels=(1, 3)) -> dict[int, Path]:
    """Checkpoints that differ from the base by a little noise."""
    files = {level: folder / f"{level}.safetensors" for level in levels}
    for level, path in files.items():
        reward = load_reward("pickscore", path=CLIP)
        torch.manual_seed(level)
        parameters = make_trainable(reward, lora)
        noisy = {n: p.detach() + 0.02 * torch.randn_like(p) for n, p in parameters.items()}
        save_level(path, noisy, level_about(reward, level, lora))
    return files
