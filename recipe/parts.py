"""The parts of the recipe: each trains one of the embedded models, measures it and saves it with its model card."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, AutoencoderTiny, StableDiffusionXLPipeline
from safetensors.torch import save_file

from recipe import generator, look_decoder, onestep, student
from recipe import reward as shapes_reward
from recipe import vae as autoencoder
from recipe.cards import GENERATOR, REWARD
from recipe.groups import JudgedGroups, drawn_groups, sampled_groups
from ttsnap.commands.device_options import has_fast_bfloat16
from ttsnap.errors import TtsnapError
from ttsnap.rewards.base import load_reward
from ttsnap.samplers import load_sampler
from ttsnap.sft.comparison import clip_reward, draft_figures
from ttsnap.sft.pipeline import OneStepPipeline
from ttsnap.shapes.captions import random_caption
from ttsnap.storage.files import read_json, write_json, write_text

SAMPLE_STEPS = 20  # of the generator, for figures and the others' data
STATES = "states"  # folder, below that of the models, that killed trainings resume from


def train_part(part: str, out: Path, scale: float, seed: int, device: str) -> dict:
    """Train a model, a key of TRAINERS, from a seed alone; save it below `out` and return its figures.

    scale: share of the recipe's steps and data. Raises TtsnapError for a reward that fails its gates at full scale.
    """
    about = {"seed": seed, "device": _device_name(device)}
    (out / STATES).mkdir(parents=True, exist_ok=True)
    return {**TRAINERS[part](out, scale, seed, device, about), **about}


def _scaled(scale: float) -> Callable[[int], int]:
    return lambda count: max(1, round(count * scale))


def _vae(out: Path, scale: float, seed: int, device: str, about: dict) -> dict:
    scaled = _scaled(scale)
    vae, figures = autoencoder.train_vae(
        scaled(autoencoder.STEPS), seed, device, pool=scaled(autoencoder.POOL), state=out / STATES / "vae.state"
    )
    vae.save_pretrained(out / "vae")
    return figures


def _teacher(out: Path, scale: float, seed: int, device: str, about: dict) -> dict:
    scaled, folder = _scaled(scale), out / "shapes-teacher"
    vae = AutoencoderKL.from_pretrained(out / "vae")
    rounds = [replace(part, steps=scaled(part.steps)) for part in generator.ROUNDS]
    size = dict(lesson=scaled(generator.LESSON), rounds=rounds, pool=scaled(generator.POOL))
    pipeline, figures = generator.train_generator(vae, seed, device, **size, states=out / STATES)
    pipeline.to(dtype=torch.float16).save_pretrained(folder)
    _open_as_float32(folder)
    return figures | _accepted(_sampler(folder, device, guidance=student.GUIDANCE), scaled(24), seed)


def _generator(out: Path, scale: float, seed: int, device: str, about: dict) -> dict:
    scaled, folder = _scaled(scale), out / "shapes-sdxl"
    pipeline = StableDiffusionXLPipeline.from_pretrained(out / "shapes-teacher")
    size = dict(steps=scaled(student.STEPS), pool=scaled(generator.POOL))
    figures = student.train_student(pipeline, seed, device, **size, states=out / STATES)
    pipeline.to(dtype=torch.float16).save_pretrained(folder)
    _open_as_float32(folder)
    figures |= _accepted(_sampler(folder, device), scaled(24), seed)
    made_from = {name: read_json(out / f"{name}.json") for name in ("vae", "teacher")}
    card = GENERATOR.format(guidance=student.GUIDANCE, sample_steps=SAMPLE_STEPS, **made_from, **about, **figures)
    write_text(folder / "README.md", card)
    return figures


def _reward(out: Path, scale: float, seed: int, device: str, about: dict) -> dict:
    scaled, folder = _scaled(scale), out / "shapes-clip"
    began, rng = time.monotonic(), np.random.default_rng(seed)
    sampler = _sampler(out / "shapes-sdxl", device)
    held_out = {k: _held_out_groups(sampler, k, scaled(24), 12, seed) for k in (2, 3)}
    drawn = drawn_groups(rng, scaled(shapes_reward.DRAWN))
    counts = rng.choice([2, 3], size=scaled(shapes_reward.SAMPLED))
    captions = [random_caption(rng, int(k)).text() for k in counts]
    samples = sampled_groups(sampler, captions, 8, seed).split(4)
    samples = JudgedGroups.join([samples, samples.mirrored()])
    shapes_reward.save_untrained(folder, seed)
    state = out / STATES / "reward_captions.state"
    reward, reading = shapes_reward.taught(folder, seed, device, scaled(shapes_reward.LESSON), state)
    pools, steps = {"drawn": (drawn, 12), "sampled": (samples, 20)}, scaled(shapes_reward.STEPS)
    shapes_reward.train_images(reward, reading, pools, steps, seed, device, out / STATES / "reward.state")
    figures = {"seconds": time.monotonic() - began, "lesson": shapes_reward.LESSON, "steps": steps}
    reward.clip.half().save_pretrained(folder)
    _open_as_float32(folder)
    reward.clip.float()
    for objects, groups in held_out.items():
        passed = shapes_reward.gates(reward, groups, device)
        figures |= {f"{name}_{objects}": value for name, value in passed.items()}
    images = torch.cat([groups.images.flatten(0, 1) for groups, _ in pools.values()])
    head, head_figures = shapes_reward.train_head(reward, images, seed, device, scaled(shapes_reward.HEAD_STEPS))
    (out / "shapes-aesthetic").mkdir(exist_ok=True)
    weights = {name: value.half().cpu() for name, value in head.state_dict().items()}
    save_file(weights, out / "shapes-aesthetic" / "head.safetensors")
    figures |= {f"head_{name}": value for name, value in head_figures.items()}
    write_text(folder / "README.md", REWARD.format(prompts=len(captions), **figures, **about))
    auc, tau = figures["auc_3"], figures["shift_tau_3"]
    if scale >= 1 and (auc <= shapes_reward.MIN_AUC or tau <= shapes_reward.MIN_SHIFT_TAU):
        raise TtsnapError(
            f"{folder} fails its gates: AUC {auc:.2f} (above {shapes_reward.MIN_AUC} wanted), τ under a shift"
            f" {tau:.2f} (above {shapes_reward.MIN_SHIFT_TAU}); train longer or on more"
        )
    return figures


def _onestep(out: Path, scale: float, seed: int, device: str, about: dict) -> dict:
    scaled, folder = _scaled(scale), out / "shapes-onestep"
    rng, started = np.random.default_rng(seed), time.monotonic()
    sampler = _sampler(out / "shapes-sdxl", device)
    data = onestep.targets(sampler, onestep.captions(rng, scaled(onestep.SAMPLES)), seed)
    figures = {"samples": len(data.keys), "data_seconds": time.monotonic() - started}
    student = OneStepPipeline(str(out / "shapes-sdxl"), 64, device)
    state = out / STATES / "onestep.state"
    figures |= onestep.distil(student, data, epochs=scaled(onestep.EPOCHS), seed=seed, state=state)
    onestep.save(student, out / "shapes-sdxl", folder)
    student = OneStepPipeline(str(folder), 64, device)
    figures |= _accepted(student.sampler, scaled(24), seed)
    prompts = look_decoder.held_out_prompts()[: scaled(look_decoder.PROMPTS)]
    several = [prompt for prompt in prompts for _ in range(look_decoder.CANDIDATES)]
    tested = onestep.targets(sampler, several, seed + 1)
    as_draft = draft_figures(student, tested, clip_reward(str(out / "shapes-clip")), None)
    figures |= {key: as_draft[key] for key in ("prompts", "tau")}
    sampled = {"teacher_steps": SAMPLE_STEPS, "mix": onestep.MIX, "candidates": look_decoder.CANDIDATES}
    write_text(folder / "README.md", onestep.CARD.format(lora=onestep.LORA, **sampled, **about, **figures))
    return figures


def _look_decoder(out: Path, scale: float, seed: int, device: str, about: dict) -> dict:
    scaled, folder, started = _scaled(scale), out / "shapes-taesd", time.monotonic()
    samplers = [_sampler(out / "shapes-sdxl", device, steps) for steps in (SAMPLE_STEPS, *look_decoder.FEW_STEPS)]
    data = look_decoder.looks(samplers, scaled(look_decoder.CAPTIONS), seed)
    figures = {"looks": len(data[0]), "data_seconds": time.monotonic() - started}
    steps = {"steps": scaled(look_decoder.STEPS), "encoder_steps": scaled(look_decoder.ENCODER_STEPS)}
    tiny, taught = look_decoder.teach(
        *data, **steps, seed=seed, device=device, state=out / STATES / "look_decoder.state"
    )
    reward = load_reward("pickscore", path=str(out / "shapes-clip"), device=device)
    refined = {"feature_steps": scaled(look_decoder.FEATURE_STEPS)}
    how = dict(seed=seed + 1, device=device, state=out / STATES / "features.state")
    seconds = look_decoder.refine(tiny, *data, reward, steps=refined["feature_steps"], **how)
    figures |= steps | refined | {"seconds": taught + seconds}
    tiny.half().save_pretrained(folder)
    _open_as_float32(folder)
    config = read_json(folder / "config.json")
    config.pop("block_out_channels")  # diffusers adds it, and warns at every opening that it does not expect it
    write_json(folder / "config.json", config)
    tiny = AutoencoderTiny.from_pretrained(folder).to(device)
    prompts = look_decoder.held_out_prompts()[: scaled(look_decoder.PROMPTS)]
    figures |= look_decoder.measured(tiny, samplers, reward, prompts, seed)
    sampled = {"teacher_steps": SAMPLE_STEPS, "captions": scaled(look_decoder.CAPTIONS)}
    write_text(folder / "README.md", look_decoder.card(**sampled, **about, **figures))
    return figures


TRAINERS = {
    "vae": _vae,
    "teacher": _teacher,
    "generator": _generator,
    "reward": _reward,
    "onestep": _onestep,
    "look_decoder": _look_decoder,
}


def _open_as_float32(folder: Path) -> None:
    """Make parts stored as fp16 open as float32, as diffusers opens a UNet, and remove the path they were made at."""
    for path in (*folder.rglob("config.json"), *folder.glob("model_index.json")):
        config = read_json(path)
        config.pop("_name_or_path", None)
        if "dtype" in config:
            config["dtype"] = "float32"
        write_json(path, config)


def _device_name(device: str) -> str:
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads"


def _sampler(folder: Path, device: str, steps: int = SAMPLE_STEPS, guidance: float = 0.0):
    dtype = "bfloat16" if has_fast_bfloat16(device) else "float32"
    how = dict(steps=steps, guidance=guidance, height=64, width=64)
    return load_sampler(folder, **how, device=device, dtype=dtype)


def _accepted(sampler, prompts: int, seed: int) -> dict[str, float]:
    """The share of images of held-out captions that the checker accepts, by the number of objects."""
    groups = {k: _held_out_groups(sampler, k, prompts, 8, seed) for k in (1, 2, 3)}
    return {f"accepted_{k}": float((g.quality >= 1).float().mean()) for k, g in groups.items()}


def _held_out_groups(sampler, objects: int, prompts: int, m: int, seed: int) -> JudgedGroups:
    """m images each of some held-out captions (any, for single objects) with `objects` objects."""
    rng = np.random.default_rng([seed, objects])
    captions = [random_caption(rng, objects, "held_out").text() for _ in range(prompts)]
    return sampled_groups(sampler, captions, m, seed + 1)
