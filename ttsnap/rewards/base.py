"""What all rewards have in common, and opening one by its kind."""

import importlib

import torch
from torch import nn

from ttsnap.errors import BadInput
from ttsnap.models.flop import count_flop
from ttsnap.pruning.units import Units
from ttsnap.rewards.preprocess import FITS
from ttsnap.rewards.registry import identity, reward_target
from ttsnap.settings.kinds import KINDS
from ttsnap.storage.code_digest import code


class Reward(nn.Module):
    """A reward model. Subclasses set `name`, `version`, `image_size`, `mean`, `std` and `score`.

    `fit` says how an image becomes a square (one of `preprocess.FITS`); the option `fit` of any reward overrides what
    its published code does. `raw`: raw value = score · raw[0] + raw[1]; reward tensors hold raw values. `units`: how
    raw values are reported. `made_from`: kind, weights and options, set by `load_reward`.
    """

    name: str
    version: str
    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    fit: str = "crop"
    raw: tuple[float, float] = (1.0, 0.0)
    units: Units = Units()
    made_from: dict = {}

    @property
    def score_units(self) -> Units:
        """How values of `score` are reported."""
        return self.units.before(*self.raw)

    def score(self, pixels: torch.Tensor, prompts: list[str]) -> torch.Tensor:
        """Values [n] of preprocessed pixels [n,3,image_size,image_size]."""
        raise NotImplementedError

    def preprocess(self, images: torch.Tensor) -> torch.Tensor:
        """[n,3,H,W] in [0,1] → [n,3,image_size,image_size], made square as `fit` says and normalised."""
        if images.shape[-2:] != (self.image_size, self.image_size):
            images = FITS[self.fit](images, self.image_size)
        mean, std = (images.new_tensor(v)[:, None, None] for v in (self.mean, self.std))
        return (images - mean) / std

    def forward(self, images: torch.Tensor, prompts: list[str]) -> torch.Tensor:
        """Rewards float32 [n] of images [n,3,H,W] in [0,1] for their n prompts.

        Raises BadInput for images of another shape or of integers, and for another number of prompts.
        """
        _check(images, prompts)
        parameter = next(self.parameters())
        pixels = self.preprocess(images.to(parameter.device, torch.float32)).to(parameter.dtype)
        return self.score(pixels, prompts).float()


def _check(images: torch.Tensor, prompts: list[str]) -> None:
    """Refuse what would be misread, or fail further in with an obscure error."""
    if images.dim() != 4 or images.shape[1] != 3 or not images.numel():
        raise BadInput(
            f"images: shape {list(images.shape)}; expected [n, 3, height, width]"
            " (grey: repeat the channel, alpha: lay it over a background first)"
        )
    if not images.is_floating_point():
        raise BadInput(f"images: {images.dtype}; expected floats in [0, 1] (divide by 255)")
    if isinstance(prompts, str) or len(prompts) != len(images):
        count = "one string" if isinstance(prompts, str) else len(prompts)
        raise BadInput(f"prompts: {count} for {len(images)} images; expected a list, one for each")


def load_reward(kind: str, device: str = "cpu", **options: object) -> Reward:
    """Open a reward by kind, e.g. `load_reward("pickscore", path="embedded:shapes-clip")`.

    Raises BadInput for an unknown kind, an import path without such a class, and options it does not take.
    """
    module_name, class_name = reward_target(kind)
    try:
        factory = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError) as error:
        raise BadInput(f"reward kind {kind!r} cannot be imported: {error}") from error
    fit = options.pop("fit", None)
    if fit not in (None, *FITS):
        raise BadInput(f"fit: {fit!r} is not one of {', '.join(FITS)}")
    try:
        reward = factory(**options)
    except TypeError as error:
        raise BadInput(f"reward kind {kind!r} does not take these options: {error}") from error
    if fit:
        reward.fit = fit
        options["fit"] = fit
    # What the values depend on besides images and prompts; of a user's own class also the code.
    made_from = {"kind": kind, "version": getattr(reward, "version", "")}
    made_from["options"] = identity(kind, options, times=False)
    reward.made_from = made_from | ({} if kind in KINDS else {"code": code(module_name)})
    return reward.to(device).eval().requires_grad_(False)


def reward_tflop(reward: Reward) -> float:
    """TFLOP of reading one image, including the encoding of its prompt."""
    size, device = reward.image_size, next(reward.parameters()).device
    return count_flop(reward, torch.zeros(1, 3, size, size, device=device), ["a"]) / 1e12
