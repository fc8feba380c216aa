"""What the reward of the shapes world learns from: groups of images of one caption, judged by the checker."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from tqdm import tqdm

from recipe.codes import CODE, draw_captions, image_code, patch_codes
from ttsnap.samplers import candidate_seed, run, to_bytes
from ttsnap.shapes.captions import COLOURS, RELATIONS, SHAPES, Caption, held_out, parse
from ttsnap.shapes.checker import find, judge
from ttsnap.shapes.world import BLOB, ELLIPSE, Scenes, jittered_colours, place, render

GRID = 8  # patches along a side of the reward's image tower


@dataclass
class JudgedGroups:
    """G captions with m images each, judged.

    images uint8 [G,m,3,64,64]; quality [G,m]; codes [G,m,CODE]; patches bfloat16 [G,m,GRID,GRID,CODE].
    """

    captions: list[str]
    images: torch.Tensor
    quality: torch.Tensor
    codes: torch.Tensor
    patches: torch.Tensor

    @classmethod
    def judge(cls, captions: list[str], images: torch.Tensor) -> "JudgedGroups":
        """Quality: the checker's fidelity + its verdict, in [0,2]; codes: of the objects it finds."""
        g, m = images.shape[:2]
        quality, codes = torch.zeros(g, m), torch.zeros(g, m, CODE)
        patches = torch.zeros(g, m, GRID, GRID, CODE, dtype=torch.bfloat16)
        for row, (caption, block) in enumerate(zip(captions, images, strict=True)):
            for at, found in enumerate(find(block.permute(0, 2, 3, 1).numpy() / np.float32(255))):
                quality[row, at] = sum(judge(found, parse(caption)))
                codes[row, at] = torch.from_numpy(image_code(found))
                patches[row, at] = torch.from_numpy(patch_codes(found, GRID))
        return cls(captions, images, quality, codes, patches)

    @classmethod
    def join(cls, parts: "list[JudgedGroups]") -> "JudgedGroups":
        """The groups of all parts, in order."""
        joined = (torch.cat(tensors) for tensors in zip(*(p.tensors() for p in parts), strict=True))
        return cls([c for part in parts for c in part.captions], *joined)

    def split(self, m: int) -> "JudgedGroups":
        """The same images in groups of m."""
        times = self.images.shape[1] // m
        captions = [c for c in self.captions for _ in range(times)]
        cut = (v[:, : times * m].reshape(-1, m, *v.shape[2:]) for v in self.tensors())
        return JudgedGroups(captions, *cut)

    def take(self, index: torch.Tensor) -> "JudgedGroups":
        """The groups at `index`."""
        return JudgedGroups([self.captions[i] for i in index], *(v[index] for v in self.tensors()))

    def mirrored(self) -> "JudgedGroups":
        """Left and right exchanged in images and captions, without groups whose caption is then held out."""
        captions = [_mirrored(caption) for caption in self.captions]
        kept = torch.tensor([not held_out(caption) for caption in captions])
        sign = torch.ones(CODE)
        sign[1:-1:3] = -1  # x of every object
        images, patches = self.images.flip(-1), (self.patches * sign).bfloat16().flip(-2)
        mirror = JudgedGroups(captions, images, self.quality, self.codes * sign, patches)
        return mirror.take(kept.nonzero()[:, 0])

    def tensors(self) -> tuple[torch.Tensor, ...]:
        """images, quality, codes, patches."""
        return self.images, self.quality, self.codes, self.patches


def _mirrored(text: str) -> str:
    caption = parse(text)
    left, right = RELATIONS.index("left of"), RELATIONS.index("right of")
    exchange = {left: right, right: left}
    return replace(caption, relations=tuple(exchange.get(r, r) for r in caption.relations)).text()


def wrong_caption(rng: np.random.Generator, caption: Caption) -> Caption:
    """A caption that differs in one colour, one shape or one relation, and is not held out."""
    while True:
        objects, relations = list(caption.objects), list(caption.relations)
        at = int(rng.integers(len(objects)))
        colour, shape = objects[at]
        what = int(rng.integers(4 if relations else 2))
        if what == 0:
            objects[at] = (int(rng.integers(len(COLOURS))), shape)
        elif what == 1:
            objects[at] = (colour, int(rng.integers(len(SHAPES))))
        elif what == 2:
            relations[int(rng.integers(len(relations)))] ^= 1  # left ↔ right, above ↔ below
        else:
            other = int(rng.integers(1, len(objects)))
            objects[0], objects[other] = objects[other], objects[0]
        changed = Caption(tuple(objects), tuple(relations))
        if changed != caption and len(set(objects)) == len(objects) and not held_out(changed.text()):
            return changed


def _damage(rng: np.random.Generator, scenes: Scenes) -> Scenes:
    """One flaw in each scene: an object malformed, missing, superfluous, or of a mixed colour."""
    damaged = scenes.take(np.arange(len(scenes.kind)))
    for row in range(len(damaged.kind)):
        objects = np.flatnonzero(damaged.kind[row] >= 0)
        free = np.flatnonzero(damaged.kind[row] < 0)
        at = int(rng.choice(objects))
        flaw = int(rng.integers(4 if len(free) else 3))
        if flaw == 0:
            damaged.kind[row, at] = rng.integers(ELLIPSE, BLOB + 1)
        elif flaw == 1:
            damaged.kind[row, at] = -1
        elif flaw == 2:
            share = rng.uniform(0.3, 0.8)
            other = jittered_colours(rng, rng.integers(len(COLOURS), size=()))
            damaged.colour[row, at] = share * damaged.colour[row, at] + (1 - share) * other
        else:
            damaged.kind[row, free[0]] = rng.integers(0, BLOB + 1)
            damaged.colour[row, free[0]] = jittered_colours(rng, rng.integers(len(COLOURS), size=()))
            damaged.x[row, free[0]], damaged.y[row, free[0]] = rng.uniform(6, 58, size=2)
            damaged.radius[row, free[0]] = rng.uniform(2, 9)
    return damaged


def _with_spare(scenes: Scenes) -> Scenes:
    """The scenes with one more place for an object, empty."""
    pad = {
        name: np.concatenate([value, np.zeros_like(value[:, :1])], axis=1)
        for name, value in vars(scenes).items()
        if name != "background"
    }
    pad["kind"][:, -1] = -1
    return replace(scenes, **pad)


def drawn_groups(rng: np.random.Generator, n: int) -> JudgedGroups:
    """n training captions, each with a true picture, two damaged ones and one of a nearby wrong caption."""
    captions = draw_captions(rng, n, (0.2, 0.4, 0.4))
    true = _with_spare(place(rng, captions))
    blocks = [true, _damage(rng, true), _damage(rng, _with_spare(place(rng, captions)))]
    blocks.append(place(rng, [wrong_caption(rng, c) for c in captions]))
    images = torch.stack([(render(b) * 255 + 0.5).to(torch.uint8) for b in blocks], dim=1)
    return JudgedGroups.judge([c.text() for c in captions], images)


@torch.inference_mode()
def sampled_groups(sampler, captions: list[str], m: int, seed: int) -> JudgedGroups:
    """m images of each caption from a generator (a `samplers.Sampler`), judged by the checker."""
    rows = []
    for caption in tqdm(captions, desc="sample", unit="prompt", mininterval=10):
        seeds = [candidate_seed(seed, caption, c) for c in range(m)]
        final, _ = run(sampler, caption, seeds)
        rows.append(to_bytes(sampler.decode(final), [caption] * m).cpu())
    return JudgedGroups.judge(captions, torch.stack(rows))
