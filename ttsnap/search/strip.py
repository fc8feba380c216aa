"""The strip of a search: every candidate at every look, where it was dropped, and which one won."""

import math
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont, ImageOps

from ttsnap.pruning.schedule import look_name
from ttsnap.search.core import Look, SearchResult

FONT = Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf")
CELL, GAP, LINE, MARGIN = 96, 6, 13, 10  # pixels
INK, QUIET, DROPPED, WON = "#1d2530", "#5b6673", "#d55e00", "#009e73"


def strip(result: SearchResult) -> Image.Image:
    """A row per candidate, the longest-lived first, a column per look, the reward below each image.

    Dropped candidates are grey and crossed out, the winner is framed. Many candidates are set in blocks side by side.
    """
    order, last = _order(result), result.looks[-1]
    cell = (CELL + GAP, CELL + GAP + LINE * len(last.rewards))
    block = len(result.looks) * cell[0] + 3 * GAP + 20  # 20: the candidate's number
    blocks = max(1, min(len(order), round(math.sqrt(len(order) * cell[1] / block))))
    rows = -(-len(order) // blocks)
    top = MARGIN + 3 * LINE + 2 * GAP
    width = max(2 * MARGIN + block * -(-len(order) // rows), 360)
    sheet = Image.new("RGB", (width, top + rows * cell[1] + MARGIN), "white")
    draw = ImageDraw.Draw(sheet)
    _text(draw, (MARGIN, MARGIN), _cut(result.prompt, width), INK)
    _text(draw, (MARGIN, MARGIN + LINE + 2), _caption(result), QUIET)
    for number, candidate in enumerate(order):
        left = MARGIN + (number // rows) * block
        y = top + (number % rows) * cell[1]
        if number % rows == 0:
            for column, look in enumerate(result.looks):
                name = "final" if look is last else look_name(look.at)
                _text(draw, (left + 20 + column * cell[0], top - LINE - 3), name, QUIET)
        _text(draw, (left, y + CELL // 2 - LINE // 2), str(candidate), QUIET)
        for column, look in enumerate(result.looks):
            if candidate in look.ids:
                at = (left + 20 + column * cell[0], y)
                _cell(sheet, draw, at, look, candidate, result, look is last)
    return sheet


def _order(result: SearchResult) -> list[int]:
    """Candidates by the last look they reached, then by their rank there."""
    place = {}
    for number, look in enumerate(result.looks):
        place |= {c: (-number, int(rank)) for c, rank in zip(look.ids, look.rank, strict=True)}
    return sorted(place, key=place.get)


def _caption(result: SearchResult) -> str:
    rewards = ", ".join(
        f"{result.units[name].label} {result.units[name].reported(value):.4g}" for name, value in result.rewards.items()
    )
    return f"{len(result.looks[0].ids)} candidates; the pick is {result.pick}: {rewards}"


def _cell(sheet, draw, at, look: Look, candidate: int, result: SearchResult, last: bool) -> None:
    place = look.ids.index(candidate)
    image = Image.fromarray(look.previews[place])
    image.thumbnail((CELL, CELL), Image.Resampling.LANCZOS)
    image = ImageOps.pad(image, (CELL, CELL), color="white")
    dropped = candidate not in look.kept
    if dropped and not last:
        image = ImageOps.grayscale(image).convert("RGB")
        image = Image.blend(image, Image.new("RGB", image.size, "white"), 0.35)
    sheet.paste(image, at)
    left, top, right, bottom = (at[0], at[1], at[0] + CELL - 1, at[1] + CELL - 1)
    if dropped and not last:
        draw.line((left, top, right, bottom), fill=DROPPED, width=2)
        draw.line((left, bottom, right, top), fill=DROPPED, width=2)
    won = candidate == result.pick
    if won:
        draw.rectangle((left - 2, top - 2, right + 2, bottom + 2), outline=WON, width=3)
    for number, (name, values) in enumerate(look.rewards.items()):
        text = f"{result.units[name].reported(values[place]):.4g}"
        text += "" if last or look.noise_aware[name] else " base"
        _text(draw, (left, top + CELL + 2 + LINE * number), text, WON if won else INK, 10)


def _text(draw, at, text: str, colour: str, size: int = 11) -> None:
    draw.text(at, text, fill=colour, font=ImageFont.truetype(str(FONT), size))


def _cut(text: str, width: int) -> str:
    text, most = " ".join(text.split()), max(20, width // 7)
    return text if len(text) <= most else text[: most - 1] + "…"
