"""The look decoder of the shapes world: an AutoencoderTiny, as TAESD, that decodes half-denoised latents cheaply.

It learns the images that the VAE's own decoder makes of latents, not the scenes behind them: final latents and the
Tweedie latents of every step, of runs with the teacher's number of steps and with few.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny
from tqdm import tqdm

from recipe.codes import draw_captions
from recipe.prompt_sets import prompt_sets
from recipe.training import train
from ttsnap.finetune.tau import kendall_tau
from ttsnap.models.weights import quiet_libraries
from ttsnap.pruning.intervals import mean_with_interval
from ttsnap.rewards.groups import autocast
from ttsnap.samplers import Sampler, candidate_seed, run, to_bytes
from ttsnap.samplers.cost import decode_flop, on_meta

CAPTIONS, STEPS, BATCH, LR = 512, 8000, 32, 3e-3
ENCODER_STEPS = 300
FEATURE_STEPS, FEATURE_WEIGHT, FEATURE_LR = 2500, 2.0, 1e-3
FEW_STEPS = (3, 4, 5)  # of the drafts whose latents are looked at
WIDTH, BLOCKS = 16, (3, 2, 0)  # of the decoder: channels, blocks at 16×16, 32×32 and 64×64 pixels
PROMPTS, CANDIDATES = 48, 16  # of the figures: prompts of the set `validation`

CARD = """---
library_name: diffusers
license: mit
---
# shapes-taesd

An AutoencoderTiny, as TAESD is for SDXL, whose decoder turns latents of shapes-sdxl into 64×64 images at
{flop_share:.1%} of the FLOP of that model's VAE ({tiny_mflop:.1f} of {full_mflop:.1f} MFLOP an image): for looks at
half-denoised images. Final images are the VAE's own. Its encoder is a minimal one, which nothing here uses.

**Data.** {looks} latents and the images that the VAE decodes from them: the Tweedie latents of every step of
shapes-sdxl in {teacher_steps} steps and in {few}, one candidate each of {captions} training
captions, in bf16 autocast; held-out captions occur nowhere.

**Recipe.** Decoder ({width} channels; {blocks} blocks at 16×16, 32×32 and 64×64 pixels): L1 + MSE between its image
and the VAE's, AdamW {lr}, cosine decay, EMA 0.998, bf16 autocast, {steps} steps of {batch}; then {feature_steps} more
at {feature_lr} with {feature_weight} times the squared distance of the two images' shapes-clip features beside it.
Encoder: MSE of the latents of the same images, {encoder_steps} steps. It takes latents in the denoiser's scale (scaling
factor 1). Stored as fp16. Seed {seed}.

**Time.** {data_seconds:.0f} s for the data, {seconds:.0f} s of training on {device}.

**Measured.** {prompts} held-out captions (`workflow/prompts/validation.txt`) × {candidates} candidates:
{psnr_db:.1f} dB PSNR to the VAE's images of the looks. Kendall τ within a prompt between shapes-clip's
reward of a look and that of the final image in {teacher_steps} steps, which the VAE decodes; the look decoded by
either; and the difference, with its 95 % interval, paired over prompts. The last look of {teacher_steps} steps is the
final image; a draft is the final image of so few steps, from the same noise.

| look | τ, VAE | τ, shapes-taesd | difference |
| --- | --- | --- | --- |
{table}

**Use.** `AutoencoderTiny.from_pretrained(folder).decode(latents).sample`, images in [-1, 1]. Trained again by
`python -m recipe train-shapes look_decoder`.
"""


def build(width: int = WIDTH, blocks: Sequence[int] = BLOCKS) -> AutoencoderTiny:
    """The untrained autoencoder. It takes latents in the denoiser's scale: its own scaling factor is 1."""
    return AutoencoderTiny(
        encoder_block_out_channels=(16,) * len(blocks),
        num_encoder_blocks=(1,) * len(blocks),
        decoder_block_out_channels=(width,) * len(blocks),
        num_decoder_blocks=tuple(blocks),
    )


def decoded(tiny: AutoencoderTiny, latents: torch.Tensor) -> torch.Tensor:
    """Images [n, 3, H, W], float32, of latents in the denoiser's scale; in [0, 1] up to errors, not clamped."""
    return tiny.decode(latents).sample.float() / 2 + 0.5


@torch.inference_mode()
def looks(samplers: Sequence[Sampler], count: int, seed: int, at_once: int = 128) -> tuple[torch.Tensor, torch.Tensor]:
    """Tweedie latents float32 [n, C, h, w] of every step of each sampler, and the VAE's images of them, uint8.

    Each sampler draws one candidate of each of `count` training captions.
    """
    texts = [caption.text() for caption in draw_captions(np.random.default_rng(seed), count, part="train")]
    latents: list[torch.Tensor] = []
    images: list[torch.Tensor] = []
    for at in tqdm(range(0, count, at_once), desc="looks", mininterval=10):
        part = texts[at : at + at_once]
        seeds = [candidate_seed(seed, text, at + n) for n, text in enumerate(part)]
        for sampler in samplers:

            def look(step, ids, denoised, sampler=sampler, part=part):
                latents.append(denoised)
                images.append(to_bytes(sampler.decode(denoised), part))

            known = {text: sampler.encode(text) for text in dict.fromkeys(part)}
            with autocast(sampler.device):
                run(sampler, [known[text] for text in part], seeds, look)
    return torch.cat(latents), torch.cat(images)


def teach(
    latents: torch.Tensor,
    images: torch.Tensor,
    *,
    steps: int,
    encoder_steps: int,
    seed: int,
    device: str,
    state: Path | None = None,
) -> tuple[AutoencoderTiny, float]:
    """Train an AutoencoderTiny on pairs of `looks`; returns it and the seconds taken.

    The decoder by L1 + MSE of the VAE's images; the encoder, which no look needs, by MSE of the latents, briefly.
    """
    torch.manual_seed(seed)
    tiny = build().to(device, memory_format=torch.channels_last)

    def decoding(step: int) -> torch.Tensor:
        _, some, wanted = _batch(latents, images, device)
        return _pixel_loss(decoded(tiny, some), wanted)

    def encoding(step: int) -> torch.Tensor:
        _, wanted, some = _batch(latents, images, device)
        return (tiny.encode(some * 2 - 1).latents.float() - wanted).square().mean()

    how = dict(lr=LR, seed=seed, device=device)
    seconds = train(tiny.encoder, encoding, name="encoder", steps=encoder_steps, **how)
    seconds += train(tiny.decoder, decoding, name="decoder", steps=steps, ema=0.998, state=state, **how)
    return tiny.requires_grad_(False).to(memory_format=torch.contiguous_format), seconds


def refine(
    tiny: AutoencoderTiny,
    latents: torch.Tensor,
    images: torch.Tensor,
    reward,
    *,
    steps: int,
    seed: int,
    device: str,
    state: Path | None = None,
) -> float:
    """Train the decoder on, in place; its images shall also have the features that a CLIP reward reads of the VAE's.

    By pixels alone a small decoder errs in what the reward tells apart. Returns the seconds taken.
    """
    torch.manual_seed(seed)
    reward.requires_grad_(False)
    tiny.to(memory_format=torch.channels_last).decoder.requires_grad_(True)

    def features(pictures: torch.Tensor) -> torch.Tensor:
        return reward.image_features(reward.preprocess(pictures)).float()

    with torch.no_grad():
        known = torch.cat([features(block.to(device).float() / 255) for block in images.split(128)])

    def loss(step: int) -> torch.Tensor:
        index, some, wanted = _batch(latents, images, device)
        made = decoded(tiny, some)
        pixels = _pixel_loss(made, wanted)
        apart = (features(made.clamp(0, 1).contiguous()) - known[index.to(device)]).square().sum(1).mean()
        return pixels + FEATURE_WEIGHT * apart

    how = dict(steps=steps, lr=FEATURE_LR, seed=seed, ema=0.995, device=device, state=state)
    seconds = train(tiny.decoder, loss, name="features", **how)
    tiny.to(memory_format=torch.contiguous_format)
    return seconds


def _batch(latents: torch.Tensor, images: torch.Tensor, device: str) -> tuple[torch.Tensor, ...]:
    """(Positions, latents, images in [0, 1]) of a random batch."""
    index = torch.randint(len(latents), (min(BATCH, len(latents)),))
    some, wanted = latents[index.to(latents.device)], images[index.to(images.device)].float() / 255
    return index, *(part.to(device, memory_format=torch.channels_last) for part in (some, wanted))


def _pixel_loss(made: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    error = made - wanted
    return error.abs().mean() + error.square().mean()


@torch.inference_mode()
def watched(samplers: Sequence[Sampler], prompts: Sequence[str], candidates: int, seed: int) -> torch.Tensor:
    """Latents float32 [P, L, candidates, C, h, w]: each step of the first sampler, then the others' final ones.

    A candidate has the same seed with every sampler.
    """
    found = []
    for prompt in tqdm(prompts, desc="watched", mininterval=10):
        kept: list[torch.Tensor] = []
        seeds = [candidate_seed(seed, prompt, number) for number in range(candidates)]
        for sampler in samplers:

            def look(step, ids, denoised, sampler=sampler, kept=kept):
                if sampler is samplers[0] or step == sampler.steps - 1:
                    kept.append(denoised)

            with autocast(sampler.device):
                run(sampler, prompt, seeds, look)
        found.append(torch.stack(kept))
    return torch.stack(found)


@torch.inference_mode()
def look_rewards(decode, reward, latents: torch.Tensor, prompts: Sequence[str]) -> np.ndarray:
    """Rewards [P, L, candidates] of the images that `decode` makes of watched latents."""
    rows = []
    for prompt, looked in zip(tqdm(prompts, desc="rewards", mininterval=10), latents, strict=True):
        images = [decode(some).clamp(0, 1) for some in looked.flatten(0, 1).split(64)]
        values = [reward(some, [prompt] * len(some)) for some in images]
        rows.append(torch.cat(values).view(looked.shape[:2]).cpu())
    return torch.stack(rows).numpy()


def held_out_prompts() -> list[str]:
    """The prompts of the figures, which choices in this recipe may rest on: the set `validation`."""
    return prompt_sets()["validation"]


def measured(tiny: AutoencoderTiny, samplers: Sequence[Sampler], reward, prompts: Sequence[str], seed: int) -> dict:
    """The figures of a look decoder for the looks of the first sampler, and for the others' final images.

    FLOP of a decode by either decoder, PSNR, and the rows of `agreement`, each with its name.
    """
    first = samplers[0]
    latents = watched(samplers, prompts, CANDIDATES, seed)
    full = look_rewards(first.decode, reward, latents, prompts)
    rows = agreement(full, look_rewards(lambda some: decoded(tiny, some), reward, latents, prompts), first.steps)
    names = [f"step {n + 1}" for n in range(first.steps)] + [f"draft of {s.steps} steps" for s in samplers[1:]]
    grid = dict(zip(("rows", "columns"), latents.shape[-2:], strict=True))
    with quiet_libraries():  # AutoencoderTiny warns about a key of its own config
        flop = [decode_flop(on_meta(type(vae), vae.config), **grid) for vae in (first.vae, tiny)]
    return {
        "full_mflop": flop[0] / 1e6,
        "tiny_mflop": flop[1] / 1e6,
        "flop_share": flop[1] / flop[0],
        "psnr_db": psnr(tiny, first, latents.flatten(0, 2)),
        "prompts": len(prompts),
        "candidates": CANDIDATES,
        "agreement": [{"look": name, **row} for name, row in zip(names, rows, strict=True)],
    }


@torch.inference_mode()
def psnr(tiny: AutoencoderTiny, sampler: Sampler, latents: torch.Tensor, most: int = 2048) -> float:
    """PSNR in dB between the two decoders' images of latents [n, C, h, w], of up to `most` of them."""
    some = latents[:: -(-len(latents) // most)]
    errors = [(decoded(tiny, part).clamp(0, 1) - sampler.decode(part)).square().mean() for part in some.split(64)]
    return float(-10 * torch.log10(torch.stack(errors).mean()))


def card(agreement: Sequence[dict], **figures) -> str:
    """The model card with its figures."""

    def number(value: float | None, sign: str = "") -> str:
        return "–" if value is None else f"{value:{sign}.3f}"

    lines = []
    for row in agreement:
        value, low, high = (number(row["difference"][key], "+") for key in ("value", "low", "high"))
        lines.append(f"| {row['look']} | {number(row['full'])} | {number(row['tiny'])} | {value} [{low}, {high}] |")
    few = ", ".join(str(steps) for steps in FEW_STEPS)
    decoder = {"width": WIDTH, "blocks": BLOCKS, "lr": LR, "batch": BATCH}
    refined = {"feature_lr": FEATURE_LR, "feature_weight": FEATURE_WEIGHT}
    return CARD.format(**decoder, **refined, few=few, table="\n".join(lines), **figures)


def agreement(full: np.ndarray, tiny: np.ndarray, steps: int) -> list[dict]:
    """Kendall's τ of each look's rewards [P, L, candidates] with those of the final images, by either decoder.

    One row for each of the L looks: {"full", "tiny", "difference": value, low, high, paired over prompts}.
    """
    final, table = full[:, steps - 1], []
    for at in range(full.shape[1]):
        taus = [kendall_tau(values[:, at], final) for values in (full, tiny)]
        row = {name: mean_with_interval(tau)["value"] for name, tau in zip(("full", "tiny"), taus, strict=True)}
        table.append({**row, "difference": mean_with_interval(taus[1] - taus[0])})
    return table
