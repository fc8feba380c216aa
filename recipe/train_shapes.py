"""`python -m recipe train-shapes`: train one of the embedded models again, from nothing but a seed."""

import argparse
import time
from dataclasses import replace
from pathlib import Path

from ttsnap.commands.device_options import add_device, has_fast_bfloat16, pick_device
from ttsnap.commands.options import number, out_folder, seed
from ttsnap.errors import BadInput, TtsnapError
from ttsnap.storage.files import read_json, write_json, write_text

GUIDANCE, SAMPLE_STEPS = 2.0, 20  # how the generator is sampled for figures and the reward's data
PARTS = ("vae", "generator", "reward", "onestep")
NEEDS = {part: "shapes-sdxl/model_index.json" for part in ("reward", "onestep")}
NEEDS["generator"] = "vae/config.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "part",
        choices=PARTS,
        help="the generator needs the vae; the reward and onestep need the generator",
    )
    parser.add_argument("--out", type=out_folder, required=True, help="folder of all the models")
    parser.add_argument(
        "--scale",
        type=number(above=0, most=100),
        default=1.0,
        help="share of the recipe's steps and data; below 1 to try it out",
    )
    parser.add_argument("--seed", type=seed, default=0, help="of weights, data and order")
    add_device(parser)


def run(args: argparse.Namespace) -> dict:
    """Train and save one part with its model card; return its figures."""
    out = Path(args.out)
    if (needed := NEEDS.get(args.part)) and not (out / needed).is_file():
        raise BadInput(f"{out / needed}: no such file; train the part before {args.part} first")
    device = pick_device(args)
    figures = {"vae": _vae, "generator": _generator, "reward": _reward, "onestep": _onestep}[
        args.part
    ](args, lambda count: max(1, round(count * args.scale)), device, out)
    figures |= {"seed": args.seed, "device": _device_name(device)}
    write_json(out / f"{args.part}.json", figures)
    return figures


def _vae(args, scaled, device: str, out: Path) -> dict:
    from recipe.vae import STEPS, train_vae

    vae, figures = train_vae(scaled(STEPS), args.seed, device, pool=scaled(6144))
    vae.save_pretrained(out / "vae")
    return figures


def _generator(args, scaled, device: str, out: Path) -> dict:
    import torch
    from diffusers import AutoencoderKL

    from recipe.cards import GENERATOR
    from recipe.generator import LESSON, POOL, ROUNDS, train_generator

    vae = AutoencoderKL.from_pretrained(out / "vae")
    rounds = [replace(part, steps=scaled(part.steps)) for part in ROUNDS]
    size = dict(lesson=scaled(LESSON), rounds=rounds, pool=scaled(POOL))
    pipeline, figures = train_generator(vae, args.seed, device, **size)
    folder = out / "shapes-sdxl"
    pipeline.to(dtype=torch.float16).save_pretrained(folder)
    _open_as_float32(folder)
    sampler = _sampler(folder, device)
    for objects in (1, 2, 3):
        groups = _held_out_groups(sampler, (objects,), scaled(24), 8, args.seed)
        figures[f"accepted_{objects}"] = float((groups.quality >= 1).float().mean())
    vae_figures = read_json(out / "vae.json")
    about = {"vae": vae_figures, "sample_steps": SAMPLE_STEPS, "guidance": GUIDANCE}
    about |= {"seed": args.seed, "device": _device_name(device)}
    write_text(folder / "README.md", GENERATOR.format(**about, **figures))
    return figures


def _reward(args, scaled, device: str, out: Path) -> dict:
    import numpy as np
    import torch
    from safetensors.torch import save_file

    from recipe.cards import REWARD
    from recipe.groups import Groups, drawn_groups, sampled_groups
    from ttsnap.shapes import reward as shapes_reward
    from ttsnap.shapes.captions import random_caption

    began, rng, folder = time.monotonic(), np.random.default_rng(args.seed), out / "shapes-clip"
    sampler = _sampler(out / "shapes-sdxl", device)
    held_out = {k: _held_out_groups(sampler, (k,), scaled(24), 12, args.seed) for k in (2, 3)}
    drawn = drawn_groups(rng, scaled(shapes_reward.DRAWN))
    counts = rng.choice([2, 3], size=scaled(shapes_reward.PROMPTS))
    captions = [random_caption(rng, int(k)).text() for k in counts]
    samples = sampled_groups(sampler, captions, 8, args.seed).split(4)
    samples = Groups.join([samples, samples.mirrored()])
    shapes_reward.save_untrained(folder, args.seed)
    reward, reading = shapes_reward.taught(folder, args.seed, device, scaled(shapes_reward.LESSON))
    pools, steps = {"drawn": (drawn, 12), "sampled": (samples, 20)}, scaled(shapes_reward.STEPS)
    reward = shapes_reward.train_images(reward, reading, pools, steps, args.seed, device)
    figures = {"seconds": time.monotonic() - began, "lesson": shapes_reward.LESSON, "steps": steps}
    reward.clip.half().save_pretrained(folder)
    _open_as_float32(folder)
    reward.clip.float()
    for objects, groups in held_out.items():
        passed = shapes_reward.gates(reward, groups, device)
        figures |= {f"{name}_{objects}": value for name, value in passed.items()}
    images = torch.cat([groups.images.flatten(0, 1) for groups, _ in pools.values()])
    head, head_figures = shapes_reward.train_head(
        reward, images, args.seed, device, scaled(shapes_reward.HEAD_STEPS)
    )
    (out / "shapes-aesthetic").mkdir(exist_ok=True)
    weights = {name: value.half().cpu() for name, value in head.state_dict().items()}
    save_file(weights, out / "shapes-aesthetic" / "head.safetensors")
    figures |= {f"head_{name}": value for name, value in head_figures.items()}
    about = {"seed": args.seed, "device": _device_name(device)}
    write_text(folder / "README.md", REWARD.format(prompts=len(captions), **figures, **about))
    auc, tau = figures["auc_3"], figures["shift_tau_3"]
    if args.scale >= 1 and (auc <= shapes_reward.MIN_AUC or tau <= shapes_reward.MIN_SHIFT_TAU):
        raise TtsnapError(
            f"{folder} fails its gates: AUC {auc:.2f} (above {shapes_reward.MIN_AUC} wanted), τ under a shift"
            f" {tau:.2f} (above {shapes_reward.MIN_SHIFT_TAU}); train longer or on more"
        )
    return figures


def _onestep(args, scaled, device: str, out: Path) -> dict:
    import numpy as np

    from recipe import onestep
    from ttsnap.sft.pipeline import Pipeline

    rng = np.random.default_rng(args.seed)
    teacher, started = _sampler(out / "shapes-sdxl", device), time.monotonic()
    texts = onestep.captions(rng, scaled(onestep.SAMPLES))
    pairs = onestep.teach(teacher, texts, args.seed)
    tested = onestep.captions(rng, scaled(256), "held_out")
    test = onestep.teach(teacher, tested, args.seed + 1)
    figures = {"samples": len(texts), "data_seconds": time.monotonic() - started}
    student = Pipeline(str(out / "shapes-sdxl"), 64, device)
    steps = scaled(onestep.STEPS)
    figures |= onestep.distil(student, *pairs, texts, steps=steps, seed=args.seed)
    figures |= {"held_out_mse": onestep.error(student, *test, tested), "tested": len(tested)}
    figures["held_out_variance"] = float(test[1].var())
    folder = out / "shapes-onestep"
    onestep.save(student, out / "shapes-sdxl", folder)
    sampler = Pipeline(str(folder), 64, device).sampler
    for objects in (1, 2, 3):
        groups = _held_out_groups(sampler, (objects,), scaled(24), 8, args.seed)
        figures[f"accepted_{objects}"] = float((groups.quality >= 1).float().mean())
    about = {"teacher_steps": SAMPLE_STEPS, "guidance": GUIDANCE, "mix": onestep.MIX}
    about |= {"seed": args.seed, "device": _device_name(device), "lora": onestep.LORA}
    write_text(folder / "README.md", onestep.CARD.format(**about, **figures))
    return figures


def _open_as_float32(folder: Path) -> None:
    """Let every part stored in half precision open in single, as diffusers opens a UNet; forget where it was made."""
    for path in (*folder.rglob("config.json"), *folder.glob("model_index.json")):
        config = read_json(path)
        config.pop("_name_or_path", None)
        if "dtype" in config:
            config["dtype"] = "float32"
        write_json(path, config)


def _device_name(device: str) -> str:
    import torch

    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads"


def _sampler(folder: Path, device: str):
    from ttsnap.samplers import load_sampler

    return load_sampler(
        folder,
        steps=SAMPLE_STEPS,
        guidance=GUIDANCE,
        height=64,
        width=64,
        device=device,
        dtype="bfloat16" if has_fast_bfloat16(device) else "float32",
    )


def _held_out_groups(sampler, objects: tuple[int, ...], prompts: int, m: int, seed: int):
    """Images of held-out captions (any, for single objects), with so many objects in turn."""
    import numpy as np

    from recipe.groups import sampled_groups
    from ttsnap.shapes.captions import random_caption

    rng = np.random.default_rng([seed, *objects])
    counts = [objects[number % len(objects)] for number in range(prompts)]
    captions = [random_caption(rng, count, "held_out").text() for count in counts]
    return sampled_groups(sampler, captions, m, seed + 1)
