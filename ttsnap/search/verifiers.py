"""What scores the images of a search: a reward with its level checkpoints, or any function."""

from collections.abc import Callable, Mapping
from itertools import groupby
from pathlib import Path

import numpy as np
import torch

from ttsnap.errors import BadInput
from ttsnap.models.flop import count_flop
from ttsnap.pruning.schedule import Look
from ttsnap.pruning.units import Units
from ttsnap.rewards.base import Reward, reward_tflop
from ttsnap.rewards.groups import autocast
from ttsnap.rewards.levels import LevelWeights

Score = Callable[[torch.Tensor, str], object]


class Verifier:
    """Scores images for their prompts.

    name, version  in the trace
    levels         the looks it scores with noise-aware weights; all others with the base reward
    tflop          of reading one image, including the encoding of its prompt
    units          of its values in reports
    made_from      kind, weights and options of the reward; {} for a function
    """

    name: str
    version: str = ""
    levels: frozenset[Look] = frozenset()
    tflop: float
    units: Units = Units()
    made_from: dict = {}

    def read(self, images: torch.Tensor, prompts: list[str], look: Look | None) -> np.ndarray:
        """Values float32 [n] of images [n, 3, H, W] in [0, 1] of n prompts, at `look`; None: final images."""
        raise NotImplementedError


class RewardVerifier(Verifier):
    """A reward of `ttsnap.rewards`; `checkpoints` are its level checkpoints, look → file."""

    def __init__(self, name: str, reward: Reward, checkpoints: Mapping[Look, str | Path] | None = None):
        self.name, self.version, self.made_from = name, reward.version, reward.made_from
        self.units = Units.from_json(reward.score_units.to_json(), name)
        self.weights = LevelWeights(reward, dict(checkpoints or {}))
        self.tflop = reward_tflop(reward)  # with the adapters that a checkpoint may have brought
        self.levels = frozenset(self.weights.version)
        self.level: Look | None = None  # whose weights are in use

    def read(self, images: torch.Tensor, prompts: list[str], look: Look | None) -> np.ndarray:
        level = look if look in self.levels else None
        if level != self.level:
            self.weights.use(level)
            self.level = level
        with autocast(self.weights.device):
            return self.weights.reward(images, prompts).float().cpu().numpy()


class FunctionVerifier(Verifier):
    """score(images [n, 3, H, W] in [0, 1], prompt) → n values; `noise_aware`: its variants by look.

    tflop: of one image; by default that of the costliest function, counted on an image of `size` (H, W), where only
    torch's operations count.
    """

    def __init__(
        self,
        name: str,
        score: Score,
        noise_aware: Mapping[Look, Score] | None = None,
        tflop: float | None = None,
        size: tuple[int, int] = (512, 512),
        device: torch.device | str = "cpu",
    ):
        self.name, self.score, self.noise_aware = name, score, dict(noise_aware or {})
        self.units, self.made_from = Units(label=name), {}
        self.levels = frozenset(self.noise_aware)
        if tflop is None:
            image, functions = torch.zeros(1, 3, *size, device=device), (score, *self.noise_aware.values())
            tflop = max(count_flop(function, image, "a") for function in functions) / 1e12
        self.tflop = float(tflop)

    def read(self, images: torch.Tensor, prompts: list[str], look: Look | None) -> np.ndarray:
        score, values, start = self.noise_aware.get(look, self.score), [], 0
        for prompt, same in groupby(prompts):
            part = images[start : start + len(list(same))]
            values.append(self._values(score(part, prompt), len(part)))
            start += len(part)
        return np.concatenate(values)

    def _values(self, values: object, count: int) -> np.ndarray:
        if isinstance(values, torch.Tensor):
            values = values.detach().float().cpu()
        values = np.array(values, np.float32).reshape(-1)  # a copy: the function may reuse this memory
        if len(values) != count:
            raise BadInput(f"{self.name}: gave {len(values)} values for {count} images; give one for each")
        return values
