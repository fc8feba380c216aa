"""What a caption says and what an image shows, as vectors: the first lesson of every text and image tower here.

From denoising or ranking alone, a small tower never learns that "left of" orders two objects; with these codes as
targets, it does in minutes.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F

from recipe.training import train
from ttsnap.shapes.captions import COLOURS, SHAPES, Caption, random_caption
from ttsnap.shapes.checker import Found
from ttsnap.shapes.world import SIZE

OBJECTS = len(COLOURS) * len(SHAPES)
# Presence, x and y of each colour and shape; and what is amiss
CODE = 3 * OBJECTS + 1
MIX = (0.1, 0.4, 0.5)  # shares of training captions with one, two, three objects
# Weights relative to presence, for which the cosine of two codes predicts the checker's verdict best
PLACE, AMISS = 0.5, 1.5
# Range from useless to well formed: overlap with the outline, longer over shorter side
FIT, ASPECT = (0.72, 0.88), (1.5, 1.2)
_DIRECTION = np.array([(-1, 0), (1, 0), (0, -1), (0, 1)], dtype=np.float32)  # order of RELATIONS


def draw_captions(rng: np.random.Generator, n: int, mix: Sequence[float] = MIX, part: str = "train") -> list[Caption]:
    """n random captions; mix: shares with one, two and three objects."""
    return [random_caption(rng, int(k), part) for k in rng.choice([1, 2, 3], n, p=mix)]


def caption_code(caption: Caption) -> np.ndarray:
    """[CODE]: each object's presence, and its direction from the objects it is related to (x right, y down)."""
    code = np.zeros((len(COLOURS), len(SHAPES), 3), dtype=np.float32)
    for colour, shape in caption.objects:
        code[colour, shape, 0] = 1
    for relation, (colour, shape) in zip(caption.relations, caption.objects[1:], strict=True):
        code[(*caption.objects[0], slice(1, 3))] += _DIRECTION[relation]
        code[colour, shape, 1:] -= _DIRECTION[relation]
    return np.append(code.ravel(), np.float32(0))


def object_code(found: Found) -> np.ndarray:
    """[CODE] of one object in an image: how well formed it is, its place relative to the centre, what is amiss."""
    code = np.zeros((len(COLOURS), len(SHAPES), 3), dtype=np.float32)
    size, clear = min(1.0, found.area / 60), 0.0
    if found.colour < len(COLOURS):
        shape = int(np.argmax(found.fit))
        clear = size * _share(found.fit[shape], *FIT) * _share(found.aspect, *ASPECT)
        x, y = found.x * 2 / SIZE - 1, found.y * 2 / SIZE - 1
        code[found.colour, shape] = np.sqrt(clear) * np.array([1, PLACE * x, PLACE * y])
    return np.append(code.ravel(), np.float32(AMISS * np.sqrt(size - clear)))


def image_code(found: list[Found]) -> np.ndarray:
    """[CODE] of the objects in an image: the sum of their codes, but the root of the squares of what is amiss.

    Its cosine with `caption_code` grows with the number of the caption's objects that are well formed, and with how
    far they lie in the directions named; anything else lowers it.
    """
    codes = np.stack([object_code(each) for each in found] or [np.zeros(CODE, np.float32)])
    return np.append(codes[:, :-1].sum(0), np.linalg.norm(codes[:, -1]))


def patch_codes(found: list[Found], grid: int) -> np.ndarray:
    """[grid, grid, CODE]: for each patch of an image the code of the object at or next to its centre, or zeros."""
    codes = np.zeros((grid, grid, CODE), dtype=np.float32)
    if not found:
        return codes
    middle = (np.arange(grid) + 0.5) * SIZE / grid
    boxes = np.array([(each.x, each.y, each.side / 2 + SIZE / grid / 2) for each in found])
    across = np.abs(middle[None, None] - boxes[:, 0, None, None])
    down = np.abs(middle[None, :, None] - boxes[:, 1, None, None])
    distance = np.maximum(across, down) - boxes[:, 2, None, None]  # [objects, grid, grid]
    rows, columns = np.nonzero(distance.min(0) < 0)
    nearest = distance.argmin(0)[rows, columns]
    codes[rows, columns] = np.stack([object_code(each) for each in found])[nearest]
    return codes


def _share(value: float, none: float, whole: float) -> float:
    """0 at `none`, 1 at `whole`, linear in between; either may be the larger."""
    return float(np.clip((value - none) / (whole - none), 0, 1))


class Lesson(torch.nn.Module):
    """A tower from whose outputs codes are read linearly.

    outputs: maps (tower, inputs) to the vectors [B,width] to read from; heads: one Linear for each.
    """

    def __init__(self, tower: torch.nn.Module, outputs: Callable, heads: Sequence[torch.nn.Linear]):
        super().__init__()
        self.tower, self.outputs = tower, outputs
        self.heads = torch.nn.ModuleList(heads)

    def loss(self, inputs: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """MSE of the codes read, with targets [B,CODE], averaged over the outputs."""
        vectors = self.outputs(self.tower, inputs)
        read = torch.stack([h(v).float() for h, v in zip(self.heads, vectors, strict=True)])
        return F.mse_loss(read, codes.expand_as(read))


def teach_text(
    lesson: Lesson, tokenizer, *, steps: int, seed: int, device: str, pool: int = 24_576, state=None
) -> float:
    """Train the lesson's tower on training captions with one to three objects; returns the seconds taken."""
    torch.manual_seed(seed)
    captions = draw_captions(np.random.default_rng(seed), pool)
    ids = tokenizer([c.text() for c in captions], padding=True, return_tensors="pt").input_ids
    codes = torch.from_numpy(np.stack([caption_code(c) for c in captions]))

    def loss(step: int) -> torch.Tensor:
        index = torch.randint(len(ids), (192,))
        return lesson.loss(ids[index].to(device), codes[index].to(device))

    how = dict(steps=steps, lr=2e-3, seed=seed, device=device, state=state)
    return train(lesson.to(device), loss, name="captions", **how)
