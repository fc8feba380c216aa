"""From images in [0,1] to a reward's input, as the published code does it; differentiable.

How an image becomes a square differs from reward to reward (docs/rewards.md has the table):
crop    the shorter side to the size, the centre cut out
pad     the longer side to the size, black around it
squash  both sides to the size
"""

import functools

import torch
import torch.nn.functional as F


def resize(images: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Bicubic with antialiasing, [n,3,h,w] → [n,3,height,width]; may overshoot [0,1], like torchvision's."""
    if images.shape[-2:] == (height, width):
        return images
    return F.interpolate(images, (height, width), mode="bicubic", antialias=True, align_corners=False)


def resize_8bit(images: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """PIL's bicubic resize of the 8-bit image, bit for bit: width first, each pass rounded.

    Gradients ignore the rounding. Pillow 13 takes the height first for some images more than twice as tall as wide;
    there a few pixels differ by one level.
    """
    old_height, old_width = images.shape[-2:]
    levels = _rounded(images.double() * 255)
    if old_width != width:
        levels = _rounded(levels @ pil_weights(old_width, width).to(levels.device).T)
    if old_height != height:
        levels = _rounded(pil_weights(old_height, height).to(levels.device) @ levels)
    return (levels / 255).to(images.dtype)


@functools.lru_cache(maxsize=64)
@torch.inference_mode(False)
def pil_weights(inside: int, outside: int) -> torch.Tensor:
    """PIL's bicubic weights float64 [outside, inside] (a = −0.5), in multiples of 2⁻²² as PIL has them."""
    scale = inside / outside
    stretch = max(1.0, scale)
    centre = (torch.arange(outside, dtype=torch.float64)[:, None] + 0.5) * scale
    pixel = torch.arange(inside, dtype=torch.float64)[None]
    first = (centre - 2 * stretch + 0.5).trunc().clamp(min=0)
    last = (centre + 2 * stretch + 0.5).trunc().clamp(max=inside)
    x = ((pixel - centre + 0.5) / stretch).abs()
    near, far = (1.5 * x - 2.5) * x * x + 1, (((x - 5) * x + 8) * x - 4) * -0.5
    weights = torch.where(x < 1, near, torch.where(x < 2, far, 0.0))
    weights = torch.where((pixel >= first) & (pixel < last), weights, 0.0)
    weights = weights / weights.sum(1, keepdim=True)
    return (weights * 2**22 + weights.sign() * 0.5).trunc() / 2**22


def _rounded(levels: torch.Tensor) -> torch.Tensor:
    """Whole levels 0…255, with a straight-through gradient."""
    return levels + (levels.detach().add(0.5).floor().clamp(0, 255) - levels.detach())


def crop(images: torch.Tensor, size: int, resize=resize_8bit, middle=lambda x: x // 2):
    """Shorter side to `size`, then the central size×size; `middle` halves and rounds what is left over."""
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
    """Both sides to `size`, whatever the aspect ratio; not rounded to 8 bits."""
    return resize(images, size, size)


FITS = {"crop": crop, "crop-torchvision": crop_torchvision, "pad": pad, "squash": squash}
