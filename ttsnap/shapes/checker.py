"""Decide from colour and geometry alone, without a learned model, whether an image shows its caption."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ttsnap.shapes.captions import Caption, parse
from ttsnap.shapes.world import CIRCLE, PALETTE, SQUARE, TRIANGLE, relation_offset

MIN_AREA = 8  # pixels; smaller specks are not objects
MIN_FIT = 0.82  # overlap (IoU) with the ideal outline
MIN_SIDE, MAX_ASPECT = 8, 1.35  # pixels of the shorter side; longer over shorter side
MIN_OFFSET = 4.0  # pixels between centres for a relation to hold
FLOOR = 0.1  # the least that a part contributes to the fidelity


@dataclass(frozen=True)
class Found:
    """One connected patch of one colour."""

    colour: int  # index in COLOURS, or len(COLOURS) for an unnamed colour
    x: float
    y: float
    area: int
    aspect: float
    side: int
    fit: tuple[float, float, float]  # IoU with circle, square, triangle


def colour_map(images: np.ndarray) -> np.ndarray:
    """The colour index of each pixel: [N,H,W], -1 for background, 6 for an unnamed colour.

    A pixel is background + a·(colour − background), with a < 1 at anti-aliased edges. It takes the colour with the
    least residual, and belongs to the object when a > 0.5. images: [N,H,W,3] in [0,1].
    """
    border = np.concatenate([images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]], axis=1)
    background = np.median(border, axis=1)  # [N,3]
    offset = images - background[:, None, None]
    where = np.nonzero((offset**2).sum(-1) > 0.15**2)  # elsewhere a cannot reach 0.5
    offset = offset[where]  # [M,3]
    axes = (PALETTE[None] - background[:, None])[where[0]]  # [M,6,3]
    lengths = (axes**2).sum(-1)
    share = np.einsum("mc,mkc->mk", offset, axes) / lengths
    size = (offset**2).sum(-1)
    residual = size[:, None] + lengths * (np.maximum(share - 1, 0) ** 2 - share**2)
    best = residual.argmin(-1)[:, None]
    share, residual = (np.take_along_axis(v, best, -1)[:, 0] for v in (share, residual))
    unnamed = residual > 0.2**2
    visible = np.where(unnamed, size > 0.3**2, share > 0.5)
    colours = np.full(images.shape[:3], -1)
    colours[where] = np.where(visible, np.where(unnamed, len(PALETTE), best[:, 0]), -1)
    return colours


def _fits(mask: np.ndarray) -> tuple[float, float, float]:
    """IoU of a mask, cropped to its box, with the circle, square and triangle that fill the box."""
    h, w = mask.shape
    v = (np.arange(h) + 0.5)[:, None] * 2 / h - 1
    u = np.abs((np.arange(w) + 0.5)[None] * 2 / w - 1)
    ideal = {CIRCLE: u**2 + v**2 <= 1, SQUARE: np.ones_like(mask), TRIANGLE: 2 * u <= v + 1}
    return tuple(float((mask & ideal[s]).sum() / (mask | ideal[s]).sum()) for s in (CIRCLE, SQUARE, TRIANGLE))


def find(images: np.ndarray) -> list[list[Found]]:
    """The objects of each image. images: float [N,H,W,3] in [0,1]."""
    colours = colour_map(np.asarray(images, dtype=np.float32))
    planes = colours[:, None] == np.arange(len(PALETTE) + 1)[None, :, None, None]
    n, k, height, width = planes.shape
    flat = np.zeros((3, 3, 3), dtype=bool)
    flat[1] = ndimage.generate_binary_structure(2, 1)
    labels, _ = ndimage.label(planes.reshape(n * k, height, width), structure=flat)
    found: list[list[Found]] = [[] for _ in range(n)]
    for number, (plane, rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
        mask = labels[plane.start, rows, columns] == number
        area = int(mask.sum())
        if area < MIN_AREA:
            continue
        h, w = mask.shape
        x, y = (columns.start + columns.stop) / 2, (rows.start + rows.stop) / 2
        sides = max(h, w) / min(h, w), min(h, w)
        found[plane.start // k].append(Found(plane.start % k, x, y, area, *sides, _fits(mask)))
    return found


def judge(found: list[Found], caption: Caption) -> tuple[bool, float]:
    """Verdict and fidelity of the objects of one image, as defined in `check`."""
    free, parts, places, good = list(found), [], [], True
    for colour, shape in caption.objects:
        same = [f for f in free if f.colour == colour]
        if not same:
            parts.append(0.0)
            places.append(None)
            good = False
            continue
        best = max(same, key=lambda f: f.fit[shape] * min(1.0, f.area / 60))
        free.remove(best)
        places.append(best)
        stretch = max(0.0, best.aspect - 1.15)
        size = min(1.0, best.side / MIN_SIDE)
        parts.append(max(0.0, 2 * best.fit[shape] - 1) * np.exp(-2 * stretch) * size)
        good &= best.fit[shape] >= MIN_FIT and best.fit[shape] == max(best.fit)
        good &= best.aspect <= MAX_ASPECT and best.side >= MIN_SIDE
    for relation, other in zip(caption.relations, places[1:], strict=True):
        if places[0] is None or other is None:
            parts.append(0.0)
            good = False
            continue
        along, _ = relation_offset(relation, other.x - places[0].x, other.y - places[0].y)
        parts.append(float(np.clip(along / (2 * MIN_OFFSET), 0, 1)))
        good &= bool(along >= MIN_OFFSET)
    parts.append(float(np.exp(-sum(f.area for f in free) / 40)))
    good &= not free
    return bool(good), float(np.exp(np.mean(np.log(np.maximum(parts, FLOOR)))))


def check(images: np.ndarray, prompts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Judge images against captions.

    images: uint8 [N,H,W,3], or float in [0,1]; prompts: N captions.
    Returns `accepted` bool [N] and `fidelity` float32 [N] in [0,1], the geometric mean of scores for each object, each
    relation and the absence of anything else. Raises ValueError for a prompt that is not a caption.
    """
    if images.dtype == np.uint8:
        images = images.astype(np.float32) / 255
    captions = {prompt: parse(prompt) for prompt in set(prompts)}
    for prompt, caption in captions.items():
        if caption is None:
            raise ValueError(f"not a caption of the shapes world: {prompt!r}")
    judged = [
        judge(found, captions[prompt])
        for start in range(0, len(images), 512)
        for found, prompt in zip(find(images[start : start + 512]), prompts[start : start + 512], strict=True)
    ]
    accepted, fidelity = zip(*judged, strict=True) if judged else ((), ())
    return np.array(accepted, dtype=bool), np.array(fidelity, dtype=np.float32)
