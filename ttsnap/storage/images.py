"""Foreign image files of any mode, read as the pixels that a viewer shows."""

import stat
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from ttsnap.errors import BadInput
from ttsnap.storage.files import one_line, why_unreadable

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
MOST_PIXELS = 64_000_000  # a larger image may be a decompression bomb


def read_rgb(path: str | Path, name: str = "") -> np.ndarray:
    """An image file as uint8 [H, W, 3]: rotated by its EXIF tag, 16 bits reduced to 8, transparency over white.

    name: what messages call it, by default its path. Raises BadInput for a file that is missing or not a still image,
    for more than 64 million pixels, and for pixels other than integers of 8 or 16 bits.
    """
    name = name or str(path)
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):  # opening a pipe would block
            raise BadInput(f"{name}: not a file")
        with warnings.catch_warnings():  # about large images and odd metadata: checked here
            warnings.simplefilter("ignore")
            with Image.open(path, formats=FORMATS) as image:
                _check(image, name)
                return np.asarray(_as_seen(image, name), dtype=np.uint8)
    except BadInput:
        raise
    except Exception as error:  # decoders raise anything on foreign bytes
        reason = why_unreadable(path, error) or f"not an image: cannot be decoded ({one_line(error)})"
        raise BadInput(f"{name}: {reason}") from None


def _check(image: Image.Image, name: str) -> None:
    """Refuse a large or animated image before it is decoded."""
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise BadInput(f"{name}: {width}×{height} is more than {MOST_PIXELS:,} pixels")
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # MPO: a camera's JPEG followed by a preview
        raise BadInput(f"{name}: {frames} frames or pages; save the one you want as a still image")


def _as_seen(image: Image.Image, name: str) -> Image.Image:
    """The image in RGB, as a viewer shows it on white."""
    image = ImageOps.exif_transpose(image)
    if image.mode == "F":
        raise BadInput(f"{name}: its pixels are fractions; save it with 8 bits")
    if image.mode.startswith("I"):
        image = _eight_bits(image, name)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _eight_bits(image: Image.Image, name: str) -> Image.Image:
    """16-bit grey as 8 bits; Pillow's own conversion clips at 255, which turns everything white."""
    grey = np.asarray(image).astype(np.int64)
    if grey.min() < 0 or grey.max() > 65535:
        raise BadInput(f"{name}: its pixels have more than 16 bits; save it with 8")
    hidden = image.info.get("transparency")  # the grey value that means transparent
    grey = np.where(grey == hidden, 65535, grey) if isinstance(hidden, int) else grey
    return Image.fromarray(((grey + 128) // 257).astype(np.uint8))
