"""The rewards of the shapes world: a CLIP (used as PickScore is) and an aesthetic head, with their gates."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import kendalltau
from torch import nn
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

from ttsnap.rewards.clip import PickScore
from ttsnap.shapes.captions import parse
from ttsnap.shapes.checker import find
from ttsnap.shapes.codes import CODE, Lesson, teach_text
from ttsnap.shapes.groups import Groups, wrong_caption
from ttsnap.shapes.tokenizer import MAX_LENGTH, build_tokenizer
from ttsnap.shapes.training import train

LESSON, STEPS, HEAD_STEPS = 700, 1300, 1500  # optimiser steps
MIN_SHIFT_TAU, MIN_AUC = 0.8, 0.8  # the gates: nothing is built on a reward that fails them
DRAWN, PROMPTS = 2400, 160  # groups drawn; captions the generator samples 8 images of


def save_untrained(folder: str, seed: int) -> None:
    """Write a CLIP of fresh weights with its tokenizer and image processor."""
    torch.manual_seed(seed)
    tokenizer = build_tokenizer()
    size = dict(hidden_size=128, intermediate_size=384, num_attention_heads=4)
    text = dict(
        **size,
        num_hidden_layers=3,
        vocab_size=len(tokenizer),
        max_position_embeddings=MAX_LENGTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    vision = dict(**size, num_hidden_layers=4, image_size=64, patch_size=8)
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=128)
    CLIPModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    CLIPImageProcessor(
        size={"shortest_edge": 64},
        crop_size={"height": 64, "width": 64},
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    ).save_pretrained(folder)


def shifted(images: torch.Tensor, generator: torch.Generator, most: int = 2) -> torch.Tensor:
    """Each image of [n,3,H,W] moved by up to `most` pixels; the plain border makes a roll harmless."""
    n, _, height, width = images.shape
    dy, dx = torch.randint(-most, most + 1, (2, n, 1), generator=generator).to(images.device)
    rows = (torch.arange(height, device=images.device) + dy) % height
    columns = (torch.arange(width, device=images.device) + dx) % width
    batch = torch.arange(n, device=images.device)[:, None, None]
    return images.permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None, :]].permute(
        0, 3, 1, 2
    )


def ranking_loss(
    values: torch.Tensor, quality: torch.Tensor, softness: float = 0.15
) -> torch.Tensor:
    """Bradley–Terry with soft preferences over all pairs of a group; both arguments [G,m]."""
    i, j = torch.triu_indices(values.shape[1], values.shape[1], offset=1, device=values.device)
    preference = torch.sigmoid((quality[:, i] - quality[:, j]) / softness)
    return F.binary_cross_entropy_with_logits(values[:, i] - values[:, j], preference)


def caption_embeds(clip: CLIPModel, ids: torch.Tensor) -> list[torch.Tensor]:
    """The projected text embeddings [B,d], not yet of unit length."""
    return [clip.text_projection(clip.text_model(input_ids=ids).pooler_output)]


def train_clip(
    folder: str,
    pools: dict[str, tuple[Groups, int]],
    seed: int,
    device: str,
    *,
    lesson: int = LESSON,
    steps: int = STEPS,
    report: Callable | None = None,
) -> tuple[PickScore, dict]:
    """Train the CLIP in `folder`: first what captions say; then what images show, ranking within groups and contrast.

    Both towers' codes are read by one fixed map, so that their dot product means something from the start; ranking and
    contrast come in slowly. pools: name → (groups of 4 images, groups per batch); "drawn" has its true picture first.
    """
    torch.manual_seed(seed)
    rng, shifts = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    reward = PickScore(folder).to(device)
    reading = nn.Linear(reward.clip.config.projection_dim, CODE, bias=False).to(device)
    nn.init.orthogonal_(reading.weight).requires_grad_(False)
    taught = teach_text(
        Lesson(reward.clip, caption_embeds, [reading]),
        reward.tokenizer,
        steps=lesson,
        seed=seed,
        device=device,
    )

    def loss(step: int):
        groups = _draw(pools)
        m, drawn = groups.images.shape[1], pools["drawn"][1]
        flat = groups.images.flatten(0, 1).to(device).float() / 255
        pixels = reward.preprocess(shifted(flat, shifts))
        embeds = reward.clip.get_image_features(pixel_values=pixels).pooler_output.float()
        code = F.mse_loss(reading(embeds).float(), groups.codes.flatten(0, 1).to(device))
        features = F.normalize(embeds, dim=-1)
        wrong = [wrong_caption(rng, parse(c)).text() for c in groups.captions[:drawn]]
        text = reward.text_features(groups.captions + wrong)
        scale = reward.clip.logit_scale.clamp(max=4.6).exp()
        own = text[: len(groups.captions)].repeat_interleave(m, dim=0)
        values = scale * (features * own).sum(-1).view(-1, m)
        ranking = ranking_loss(values.float(), groups.quality.to(device))
        true = features[: drawn * m : m]
        logits = scale * true @ torch.cat([text[:drawn], text[len(groups.captions) :]]).T
        contrast = F.cross_entropy(logits.float(), torch.arange(drawn, device=device))
        parts = {"code": code, "rank": ranking, "nce": contrast}
        return 20 * code + step / steps * (ranking + 0.2 * contrast), {
            name: f"{value.item():.4f}" for name, value in parts.items()
        }

    size = dict(steps=steps, lr=1e-3, ema=0.998, device=device)
    reward, seconds = train(reward, loss, **size, report=report)
    return reward, {"seconds": taught + seconds, "lesson": lesson, "steps": steps}


def _draw(pools: dict[str, tuple[Groups, int]]) -> Groups:
    """A batch of groups: so many of each pool, in the pools' order."""
    taken = [
        groups.take(torch.randint(len(groups.captions), (count,)))
        for groups, count in pools.values()
    ]
    joined = (torch.cat(parts) for parts in zip(*(t.tensors() for t in taken), strict=True))
    return Groups([c for t in taken for c in t.captions], *joined)


def neatness(images: torch.Tensor) -> torch.Tensor:
    """How well formed the objects are, caption aside: mean outline fit less specks. uint8 [n,3,H,W] → [n]."""
    out = []
    for found in find(images.permute(0, 2, 3, 1).numpy() / np.float32(255)):
        fits = [max(f.fit) if f.area >= 40 and f.colour < 6 else 0.0 for f in found]
        out.append(float(np.mean(fits)) if fits else 0.0)
    return torch.tensor(out, dtype=torch.float32)


def train_head(
    reward: PickScore, images: torch.Tensor, seed: int, device: str, steps: int = HEAD_STEPS
) -> tuple[nn.Sequential, dict]:
    """Train the aesthetic head on frozen features to tell the neatness of images uint8 [n,3,64,64]."""
    torch.manual_seed(seed)
    target = neatness(images)
    target = ((target - target.mean()) / target.std()).to(device)
    with torch.no_grad():
        features = torch.cat(
            [
                reward.image_features(reward.preprocess(block.to(device).float() / 255))
                for block in images.split(256)
            ]
        )
    head = nn.Sequential(nn.Linear(features.shape[1], 64), nn.GELU(), nn.Linear(64, 1)).to(device)

    def loss(step: int):
        index = torch.randint(len(features), (512,), device=device)
        return F.mse_loss(head(features[index])[:, 0].float(), target[index]), {}

    head, seconds = train(head, loss, steps=steps, lr=2e-3, ema=0.99, device=device)
    return head, {"seconds": seconds, "steps": steps}


@torch.no_grad()
def gates(reward, groups: Groups, device: str) -> dict[str, float]:
    """What a reward must pass before anything is built on it, on generator samples of held-out captions.

    shift_tau: Kendall τ, within a prompt, between rewards of the images and of the images moved by one pixel.
    auc: within a prompt, how often an accepted image has the higher reward than a refused one.
    """

    def score(dy: int, dx: int) -> np.ndarray:
        images = (groups.images.float() / 255).roll((dy, dx), (-2, -1))
        rows = [
            reward(block.to(device), [caption] * len(block)).cpu()
            for block, caption in zip(images, groups.captions, strict=True)
        ]
        return torch.stack(rows).numpy()

    still = score(0, 0)
    moves = [score(dy, dx) for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0))]
    taus = [
        kendalltau(a, b).statistic for moved in moves for a, b in zip(still, moved, strict=True)
    ]
    accepted = groups.quality.numpy() >= 1
    aucs = []
    for values, good in zip(still, accepted, strict=True):
        if good.any() and not good.all():
            aucs.append((values[good][:, None] > values[~good][None]).mean())
    return {
        "shift_tau": float(np.nan_to_num(taus).mean()),
        "auc": float(np.mean(aucs)) if aucs else 0.5,  # chance, when no prompt has both verdicts
        "auc_prompts": len(aucs),
    }
