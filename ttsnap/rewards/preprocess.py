"""From images in [0,1] to a reward's input, as the published codes do it; differentiable.

Published codes differ in how an image becomes a square (docs/rewards.md has the table):
crop    the shorter side to the size, the centre cut out
pad     the longer side to the size, black around it
squash  both sides to the size
"""

import torch
import torch.nn.functional as F


def resize(images: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Bicubic with antialiasing, [n,3,h,w] → [n,3,height,width]; may overshoot [0,1], as torchvision's."""
    if images.shape[-2:] == (height, width):
        return images
    return F.interpolate(
        images, (height, width), mode="bicubic", antialias=True, align_corners=False
    )


def resize_8bit(images: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """The same as PIL does it: width first, then height, each pass rounded to 8 bits.

    The rounding passes gradients on as if it were not there.
    """
    for shape in ((images.shape[-2], width), (height, width)):
        resized = resize(images, *shape)
        if resized is not images:
            rounded = resized.detach().mul(255).add(0.5).floor().clamp(0, 255) / 255
            images = resized + (rounded - resized).detach()
    return images


def crop(images: torch.Tensor, size: int, resize=resize_8bit, middle=lambda x: x // 2):
    """Shorter side to `size`, then the central size×size; `middle` rounds the half of an odd rest."""
    height, width = images.shape[-2:]
    shape = [int(size * side / min(height, width)) for side in (height, width)]
    images = resize(images, *shape)
    top, left = (middle(side - size) for side in shape)
    return images[..., top : top + size, left : left + size]


def crop_torchvision(images: torch.Tensor, size: int) -> torch.Tensor:
    """`crop` with torchvision's CenterCrop, which rounds half a pixel to the even neighbour."""
    return crop(images, size, middle=lambda rest: round(rest / 2))


def pad(images: torch.Tensor, size: int) -> torch.Tensor:
    """Longer side to `size`, black (before normalising) around the rest; not rounded to 8 bits (HPSv2)."""
    height, width = images.shape[-2:]
    shape = [max(1, round(side * (size / max(height, width)))) for side in (height, width)]
    rest_h, rest_w = (size - side for side in shape)
    around = (rest_w // 2, rest_w - rest_w // 2, rest_h // 2, rest_h - rest_h // 2)
    return F.pad(resize(images, *shape), around)


def squash(images: torch.Tensor, size: int) -> torch.Tensor:
    """Both sides to `size`, the aspect lost; not rounded to 8 bits."""
    return resize(images, size, size)


FITS = {"crop": crop, "crop-torchvision": crop_torchvision, "pad": pad, "squash": squash}
