"""Scenes of the shapes world, coloured shapes on a plain light background, and their rendering."""

from dataclasses import dataclass

import numpy as np
import torch

from ttsnap.shapes.captions import Caption

SIZE = 64
PALETTE = np.array(  # RGB in [0,1], in the order of captions.COLOURS
    [
        [0.86, 0.12, 0.12],
        [0.12, 0.62, 0.20],
        [0.13, 0.28, 0.85],
        [0.96, 0.86, 0.12],
        [0.56, 0.16, 0.70],
        [0.97, 0.53, 0.08],
    ],
    dtype=np.float32,
)
CIRCLE, SQUARE, TRIANGLE = range(3)
# Kinds for negatives and autoencoder scenes: what a half-trained generator draws by mistake.
ELLIPSE, BAR, RING, BLOB = range(3, 7)


@dataclass
class Scenes:
    """N scenes of at most K objects. Arrays [N,K]; `kind` is -1 where there is no object."""

    kind: np.ndarray
    colour: np.ndarray  # [N,K,3] RGB in [0,1]
    x: np.ndarray  # centres and half extents in pixels
    y: np.ndarray
    radius: np.ndarray
    background: np.ndarray  # [N,3]

    def take(self, index) -> "Scenes":
        """The scenes at `index`, copied."""
        return Scenes(*(np.array(getattr(self, name)[index]) for name in self.__dataclass_fields__))


def _sdf(kind: torch.Tensor, dx: torch.Tensor, dy: torch.Tensor, r: torch.Tensor) -> torch.Tensor:
    """Signed distance in pixels to the outline of each object (negative inside)."""
    circle = torch.hypot(dx, dy) - r
    outlines = {
        CIRCLE: circle,
        SQUARE: torch.maximum(dx.abs(), dy.abs()) - 0.88 * r,
        TRIANGLE: torch.maximum((2 * dx.abs() - dy - r) / 5**0.5, dy - r),
        ELLIPSE: torch.hypot(dx / 1.35, dy / 0.65) - r,
        BAR: torch.maximum(dx.abs() - 0.45 * r, dy.abs() - 1.2 * r),
        RING: (circle + 0.25 * r).abs() - 0.25 * r,
        BLOB: torch.hypot(dx, dy) - r * (0.75 + 0.25 * torch.sin(3 * torch.atan2(dy, dx) + r)),
    }
    out = torch.full_like(circle, 1e3)
    for value, distance in outlines.items():
        out = torch.where(kind == value, distance, out)
    return out


def render(scenes: Scenes, device: str | torch.device = "cpu") -> torch.Tensor:
    """Draw the scenes with anti-aliased edges: float32 [N,3,64,64] in [0,1]; later objects are on top."""
    axis = torch.arange(SIZE, dtype=torch.float32, device=device) + 0.5
    as_tensor = {name: torch.as_tensor(value, device=device) for name, value in vars(scenes).items()}
    image = as_tensor["background"].float()[:, :, None, None].expand(-1, -1, SIZE, SIZE)
    for k in range(scenes.kind.shape[1]):
        x, y, r, kind = (as_tensor[n][:, k, None, None] for n in ("x", "y", "radius", "kind"))
        dx, dy = axis[None, None, :] - x.float(), axis[None, :, None] - y.float()
        dx, dy = torch.broadcast_tensors(dx, dy)
        cover = (0.5 - _sdf(kind, dx, dy, r.float())).clamp(0, 1)[:, None]
        image = image + cover * (as_tensor["colour"][:, k].float()[:, :, None, None] - image)
    return image


def jittered_colours(rng: np.random.Generator, index: np.ndarray) -> np.ndarray:
    """Palette colours [...,3] with a little noise."""
    noise = rng.normal(0, 0.02, size=(*index.shape, 3))
    return np.clip(PALETTE[index] + noise, 0, 1).astype(np.float32)


def backgrounds(rng: np.random.Generator, n: int) -> np.ndarray:
    """Plain light backgrounds [n,3]."""
    grey = rng.uniform(0.84, 0.97, size=(n, 1))
    return np.clip(grey + rng.normal(0, 0.01, size=(n, 3)), 0, 1).astype(np.float32)


def relation_offset(relation, dx, dy):
    """How many pixels the first object lies in the direction of `relation`, and how many to the side.

    dx, dy: second centre minus first centre, y pointing down.
    """
    along = np.select([relation == r for r in range(4)], [dx, -dx, dy, -dy])
    aside = np.where(np.asarray(relation) < 2, np.abs(dy), np.abs(dx))
    return along, aside


def place(rng: np.random.Generator, captions: list[Caption]) -> Scenes:
    """Draw sizes and positions that make each caption true, with boxes at least two pixels apart.

    By rejection sampling: each scene is redrawn until all its relations hold.
    """
    n, k = len(captions), max(len(c.objects) for c in captions)
    kind, colour = np.full((n, k), -1), np.zeros((n, k), dtype=int)
    relation = np.zeros((n, k), dtype=int)
    for row, caption in enumerate(captions):
        count = len(caption.objects)
        colour[row, :count], kind[row, :count] = zip(*caption.objects, strict=True)
        relation[row, 1:count] = caption.relations
    there = kind >= 0
    largest = np.array([13.0, 11.0, 9.0])[there.sum(1) - 1][:, None]
    x, y, r = (np.zeros((n, k)) for _ in range(3))
    todo = np.arange(n)
    while len(todo):
        shape = (len(todo), k)
        nr = rng.uniform(largest[todo] - 3, largest[todo], size=shape)
        nx = rng.uniform(nr + 2, SIZE - nr - 2)
        ny = rng.uniform(nr + 2, SIZE - nr - 2)
        good = np.ones(len(todo), dtype=bool)
        for i in range(k):
            for j in range(i + 1, k):
                both = there[todo, i] & there[todo, j]
                dx, dy = nx[:, j] - nx[:, i], ny[:, j] - ny[:, i]
                reach = nr[:, i] + nr[:, j] + 2
                apart = np.maximum(np.abs(dx), np.abs(dy)) >= reach
                if i == 0:
                    along, aside = relation_offset(relation[todo, j], dx, dy)
                    apart = (along >= reach) & (aside <= 0.7 * along)
                good &= apart | ~both
        done = todo[good]
        x[done], y[done], r[done] = nx[good], ny[good], nr[good]
        todo = todo[~good]
    return Scenes(kind, jittered_colours(rng, colour), x, y, r, backgrounds(rng, n))


def dense(rng: np.random.Generator, n: int, objects: int = 8) -> Scenes:
    """Crowded scenes with objects of every kind, for training the autoencoder."""
    shape = (n, objects)
    return Scenes(
        rng.integers(-1, 7, size=shape),
        jittered_colours(rng, rng.integers(len(PALETTE), size=shape)),
        rng.uniform(4, SIZE - 4, size=shape),
        rng.uniform(4, SIZE - 4, size=shape),
        rng.uniform(3, 14, size=shape),
        backgrounds(rng, n),
    )
