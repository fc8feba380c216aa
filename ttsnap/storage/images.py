"""Image files of any mode as the pixels that a person sees: the one reader of images that are not ours."""

import stat
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from ttsnap.errors import BadInput
from ttsnap.storage.files import one_line, why_unreadable

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
MOST_PIXELS = 64_000_000  # a larger image is a bomb


def read_rgb(path: str | Path, name: str = "") -> np.ndarray:
    """An image file as uint8 [H, W, 3]: turned as its EXIF says, 16 bits as 8, transparency over white.

    name: what to call it, if not by its path. Raises BadInput, naming it, for a file that is not there or no still
    image, one of more than 64 million pixels, and pixels that are no integers of 8 or 16 bits.
    """
    name = name or str(path)
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):  # opening a pipe would wait for ever
            raise BadInput(f"{name}: not a file")
        with warnings.catch_warnings():  # of large images and odd metadata, on which we decide
            warnings.simplefilter("ignore")
            with Image.open(path, formats=FORMATS) as image:
                _check(image, name)
                return np.asarray(_as_seen(image, name), dtype=np.uint8)
    except BadInput:
        raise
    except Exception as error:  # decoders raise whatever they like on foreign bytes
        reason = why_unreadable(path, error) or f"not an image: cannot be decoded ({one_line(error)})"
        raise BadInput(f"{name}: {reason}") from None


def _check(image: Image.Image, name: str) -> None:
    """Refuse, before it is decoded, what is too large or moves."""
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise BadInput(f"{name}: {width}×{height} is more than {MOST_PIXELS:,} pixels")
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # a camera's JPEG with a preview after the photograph
        raise BadInput(f"{name}: {frames} frames or pages; save the one meant as a still image")


def _as_seen(image: Image.Image, name: str) -> Image.Image:
    """RGB as a viewer shows it on white."""
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
    """16 bits of grey as 8: Pillow's own conversion cuts them off at 255, so that all is white."""
    grey = np.asarray(image).astype(np.int64)
    if grey.min() < 0 or grey.max() > 65535:
        raise BadInput(f"{name}: its pixels have more than 16 bits; save it with 8")
    hidden = image.info.get("transparency")  # the grey that stands for nothing
    grey = np.where(grey == hidden, 65535, grey) if isinstance(hidden, int) else grey
    return Image.fromarray(((grey + 128) // 257).astype(np.uint8))
