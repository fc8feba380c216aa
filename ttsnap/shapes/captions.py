"""Captions of the shapes world: their grammar, a parser, and which are held out."""

import hashlib
import re
from dataclasses import dataclass

import numpy as np

COLOURS = ("red", "green", "blue", "yellow", "purple", "orange")
SHAPES = ("circle", "square", "triangle")
RELATIONS = ("left of", "right of", "above", "below")

_OBJECT = rf"an? ({'|'.join(COLOURS)}) ({'|'.join(SHAPES)})"
_RELATION = f"({'|'.join(RELATIONS)})"
_CAPTION = re.compile(rf"{_OBJECT}(?: {_RELATION} {_OBJECT}(?: and {_RELATION} {_OBJECT})?)?", re.IGNORECASE)


@dataclass(frozen=True)
class Caption:
    """A parsed caption.

    objects: one to three distinct (colour index, shape index).
    relations: for each object after the first, the index in RELATIONS of the first object's relation to it.
    """

    objects: tuple[tuple[int, int], ...]
    relations: tuple[int, ...]

    def text(self) -> str:
        """The caption in words, e.g. "a red circle left of a blue square and above a green circle"."""
        names = [f"{'an' if COLOURS[c][0] in 'aeiou' else 'a'} {COLOURS[c]} {SHAPES[s]}" for c, s in self.objects]
        text = names[0]
        for place, (relation, name) in enumerate(zip(self.relations, names[1:], strict=True)):
            text += f"{' and' if place else ''} {RELATIONS[relation]} {name}"
        return text


def parse(text: str) -> Caption | None:
    """Parse a caption; None when `text` is not a sentence of the shapes world."""
    match = _CAPTION.fullmatch(" ".join(text.split()))
    if match is None:
        return None
    words = [word and word.lower() for word in match.groups()]
    objects = [(COLOURS.index(words[at]), SHAPES.index(words[at + 1])) for at in (0, 3, 6) if words[at] is not None]
    relations = [RELATIONS.index(words[at]) for at in (2, 5) if words[at] is not None]
    return Caption(tuple(objects), tuple(relations))


def held_out(text: str) -> bool:
    """Whether a caption is held out of all training: by hash, a seventh of those with 2 or 3 objects."""
    caption = parse(text)
    if caption is None or len(caption.objects) < 2:
        return False
    return hashlib.sha256(caption.text().encode()).digest()[0] % 7 == 0


def random_caption(rng: np.random.Generator, objects: int, part: str = "train") -> Caption:
    """Draw a caption with so many objects from `part`: "train", "held_out" or "any"."""
    while True:
        chosen = rng.choice(len(COLOURS) * len(SHAPES), size=objects, replace=False)
        relations = tuple(int(r) for r in rng.integers(len(RELATIONS), size=objects - 1))
        caption = Caption(tuple((int(c) // 3, int(c) % 3) for c in chosen), relations)
        if part == "any" or objects == 1 or held_out(caption.text()) == (part == "held_out"):
            return caption
