"""HTML pages from templates: self-contained, no scripts, the same bytes for the same content."""

import base64
import io
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from ttsnap.pruning.schedule import look_name, look_names
from ttsnap.report import words

ENVIRONMENT = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
ENVIRONMENT.filters |= {
    "direction": words.direction,
    "flop": words.flop,
    "gain": words.gain,
    "interval": words.interval,
    "look": look_name,
    "looks": look_names,
    "method": words.method_name,
    "number": words.number,
    "percent": words.percent,
    "schedule": words.schedule,
}


def render(template: str, **values) -> str:
    """Fill the template `ttsnap/report/<template>.html`."""
    return ENVIRONMENT.get_template(f"{template}.html").render(**values)


def png_uri(png: bytes) -> str:
    """A PNG as a data URI for an <img>."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def thumbnail(image: np.ndarray, side: int) -> str:
    """A uint8 image [H, W, 3] as a data URI, at most `side` pixels on its longer side.

    A palette of 128 colours takes a third of the bytes, with no visible difference at this size.
    """
    picture = Image.fromarray(image)
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    picture = picture.quantize(128, dither=Image.Dither.FLOYDSTEINBERG)
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return png_uri(file.getvalue())
