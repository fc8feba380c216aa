"""The rewards of the shapes world: a CLIP (used as PickScore is) and an aesthetic head, with their gates."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import kendalltau
from torch import nn
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

from recipe.codes import CODE, Lesson, teach_text
from recipe.groups import JudgedGroups
from recipe.tokenizer import MAX_LENGTH, build_tokenizer
from recipe.training import train
from ttsnap.rewards.clip import PickScore
from ttsnap.shapes.checker import find

LESSON, STEPS, HEAD_STEPS = 700, 3000, 1500  # of the text tower, the image tower and the head
DRAWN, SAMPLED = 4800, 480  # captions drawn, captions the generator samples 8 images of
MIN_SHIFT_TAU, MIN_AUC = 0.8, 0.8  # the gates that a reward must pass before anything is built on it


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
        size={"shortest_edge": 64}, crop_size={"height": 64, "width": 64}, image_mean=[0.5] * 3, image_std=[0.5] * 3
    ).save_pretrained(folder)


def shifted(images: torch.Tensor, generator: torch.Generator, most: int = 2) -> torch.Tensor:
    """Each image of [n,3,H,W] moved by up to `most` pixels; the plain border makes a roll harmless."""
    n, _, height, width = images.shape
    dy, dx = torch.randint(-most, most + 1, (2, n, 1), generator=generator).to(images.device)
    rows = (torch.arange(height, device=images.device) + dy) % height
    columns = (torch.arange(width, device=images.device) + dx) % width
    batch = torch.arange(n, device=images.device)[:, None, None]
    return images.permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def ranking_loss(values: torch.Tensor, quality: torch.Tensor, softness: float = 0.15) -> torch.Tensor:
    """Bradley–Terry with soft preferences over all pairs of a group; both arguments [G,m]."""
    i, j = torch.triu_indices(values.shape[1], values.shape[1], offset=1, device=values.device)
    preference = torch.sigmoid((quality[:, i] - quality[:, j]) / softness)
    return F.binary_cross_entropy_with_logits(values[:, i] - values[:, j], preference)


def caption_embeds(clip: CLIPModel, ids: torch.Tensor) -> list[torch.Tensor]:
    """The projected text embeddings [B,d], not yet of unit length."""
    return [clip.text_projection(clip.text_model(input_ids=ids).pooler_output)]


def taught(folder: str, seed: int, device: str, lesson: int, state: Path | None = None) -> tuple[PickScore, nn.Linear]:
    """The CLIP in `folder` after its text tower's lesson, and the map that codes are read by from both towers.

    One fixed map for both, so that their dot product means something from the start.
    """
    torch.manual_seed(seed)
    reward = PickScore(folder).to(device)
    reading = nn.Linear(reward.clip.config.projection_dim, CODE, bias=False).to(device)
    nn.init.orthogonal_(reading.weight).requires_grad_(False)
    text = Lesson(reward.clip, caption_embeds, [reading])
    teach_text(text, reward.tokenizer, steps=lesson, seed=seed, device=device, state=state)
    return reward, reading


def train_images(
    reward: PickScore,
    reading: nn.Linear,
    pools: dict[str, tuple[JudgedGroups, int]],
    steps: int,
    seed: int,
    device: str,
    state: Path | None = None,
) -> None:
    """Train the image tower in place: codes of what images show, by patch and whole, and ranking within groups.

    pools: name → (groups of 4 images, groups per batch). The text tower stays as it was taught.
    """
    torch.manual_seed(seed)
    shifts = torch.Generator().manual_seed(seed)
    reward.requires_grad_(True)
    reward.clip.text_model.requires_grad_(False)
    reward.clip.text_projection.requires_grad_(False)
    local = nn.Linear(reward.clip.config.vision_config.hidden_size, CODE).to(device)
    with torch.no_grad():
        texts = {c: reward.text_features([c])[0] for g, _ in pools.values() for c in set(g.captions)}

    def loss(step: int) -> torch.Tensor:
        groups = _draw(pools)
        flat = groups.images.flatten(0, 1).to(device).float() / 255
        pixels = reward.preprocess(shifted(flat, shifts))
        seen = reward.clip.vision_model(pixel_values=pixels, output_hidden_states=True)
        # One layer before the last, so that the last can collect what the patches found.
        patches = local(seen.hidden_states[-2][:, 1:]).float()
        known = groups.patches.flatten(0, 1).flatten(1, 2).to(device).float()
        embeds = reward.clip.visual_projection(seen.pooler_output).float()
        code = F.mse_loss(reading(embeds).float(), groups.codes.flatten(0, 1).to(device))
        features = F.normalize(embeds, dim=-1).unflatten(0, groups.quality.shape)
        text = torch.stack([texts[c] for c in groups.captions])
        scale = reward.clip.logit_scale.clamp(max=4.6).exp()
        values = scale * torch.einsum("gmd,gd->gm", features, text)
        ranking = ranking_loss(values.float(), groups.quality.to(device))
        patch = F.mse_loss(patches, known)
        return 20 * patch + 20 * code + step / steps * ranking

    how = dict(steps=steps, lr=1e-3, seed=seed, ema=0.998, device=device, state=state)
    train(nn.ModuleList([reward, local]), loss, name="reward", **how)


def _draw(pools: dict[str, tuple[JudgedGroups, int]]) -> JudgedGroups:
    """A batch of groups: the number set for each pool, in the pools' order."""
    taken = [groups.take(torch.randint(len(groups.captions), (count,))) for groups, count in pools.values()]
    return JudgedGroups.join(taken)


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
            [reward.image_features(reward.preprocess(block.to(device).float() / 255)) for block in images.split(256)]
        )
    head = nn.Sequential(nn.Linear(features.shape[1], 64), nn.GELU(), nn.Linear(64, 1)).to(device)

    def loss(step: int) -> torch.Tensor:
        index = torch.randint(len(features), (512,), device=device)
        return F.mse_loss(head(features[index])[:, 0].float(), target[index])

    seconds = train(head, loss, name="head", steps=steps, lr=2e-3, seed=seed, ema=0.99, device=device)
    return head, {"seconds": seconds, "steps": steps}


@torch.no_grad()
def gates(reward, groups: JudgedGroups, device: str) -> dict[str, float]:
    """The figures of a reward's gates, on generator samples of held-out captions.

    shift_tau: Kendall τ, within a prompt, between rewards of the images and of the images shifted by one pixel.
    auc: how often, within a prompt, an accepted image has a higher reward than a refused one.
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
    taus = [kendalltau(a, b).statistic for moved in moves for a, b in zip(still, moved, strict=True)]
    accepted = groups.quality.numpy() >= 1
    aucs = [
        (values[good][:, None] > values[~good][None]).mean()
        for values, good in zip(still, accepted, strict=True)
        if good.any() and not good.all()
    ]
    return {
        "shift_tau": float(np.nan_to_num(taus).mean()),
        "auc": float(np.mean(aucs)) if aucs else 0.5,  # by chance, when no prompt has both verdicts
        "auc_prompts": len(aucs),
    }
