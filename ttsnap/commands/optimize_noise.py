"""`ttsnap optimize-noise`: the noise of a prompt whose one-step image has the highest reward."""

import argparse
from pathlib import Path

from ttsnap.commands.device_options import add_device, pick_device
from ttsnap.commands.options import in_file, out_folder, seed, side
from ttsnap.commands.reward_options import add_reward, check_reward, open_reward
from ttsnap.commands.settings_options import add_settings, take_settings
from ttsnap.errors import BadInput, foreign_content
from ttsnap.models import check_generator
from ttsnap.pruning.units import Units
from ttsnap.settings.sft import Optimise
from ttsnap.storage.files import replacing, write_json
from ttsnap.storage.prompts import file_name, read_prompts, text_fault


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--prompt", help="one prompt")
    parser.add_argument("--prompts", type=in_file, help="prompt file: .txt, .json, .jsonl or .csv")
    parser.add_argument("--model", required=True, help="one-step diffusers folder or hub id")
    parser.add_argument(
        "--size", type=side, help="image side in pixels; the model's own if not given"
    )
    parser.add_argument(
        "--out", type=out_folder, required=True, help="folder; a rerun keeps finished prompts"
    )
    add_reward(parser)
    add_settings(parser, Optimise)
    parser.add_argument("--seed", type=seed, default=0, help="run seed, of the first noise")
    add_device(parser)


def run(args: argparse.Namespace) -> dict:
    """Optimise every prompt; return the summary."""
    if (args.prompt is None) == (args.prompts is None):
        raise BadInput("give either --prompt or --prompts")
    prompts = read_prompts(args.prompts) if args.prompt is None else [args.prompt.strip()]
    if not prompts[0]:
        raise BadInput("--prompt: is empty")
    if fault := text_fault(prompts[0]):
        raise BadInput(f"--prompt: holds {fault}")
    settings = take_settings(args, Optimise)
    check_generator(args.model, "--model")
    check_reward(args)
    device = pick_device(args)
    from tqdm import tqdm

    from ttsnap.models import weights_digest
    from ttsnap.rewards.registry import identity, reward_module
    from ttsnap.sft.generators import load_generator
    from ttsnap.storage.code_digest import code

    generator = load_generator(args.model, size=args.size, device=device)
    if generator.image_shape[0] != 3:
        raise BadInput("--model: rewards read colour images; name a one-step pipeline")
    reward = open_reward(args, device)
    options = {key: value for key, _, value in (o.partition("=") for o in args.option)}
    about = {
        "model": generator.version, "size": list(generator.image_shape[1:]), "seed": args.seed,
        "reward": args.name or args.kind,
        "weights": weights_digest(args.model), "reward_kind": args.kind,
        "reward_options": identity(args.kind, options),
        "units": reward.score_units.to_json(),
        "code": code("ttsnap.commands.optimize_noise", reward_module(args.kind)),
        "settings": {k: v for k, v in settings.items() if k != "batch_size"},
    }  # fmt: skip
    out = Path(args.out)
    folders = {prompt: out / file_name(prompt) for prompt in prompts}
    todo = [prompt for prompt, folder in folders.items() if not _finished(folder, prompt, about)]
    size = settings["batch_size"]
    with tqdm(total=len(prompts), initial=len(prompts) - len(todo), desc="optimize-noise") as bar:
        for at in range(0, len(todo), size):
            batch = todo[at : at + size]
            _optimise(generator, reward, batch, folders, settings, about)
            bar.update(len(batch))
    return _summary(out, about, settings["patch"])


def _finished(folder: Path, prompt: str, about: dict) -> bool:
    """Whether a prompt has its results, of this very run."""
    from ttsnap.storage.files import read_json

    path = folder / "metrics.json"
    if not path.exists():
        return False
    with foreign_content(
        path, "the figures of a prompt", "delete it, and the prompt is done again"
    ):
        metrics = read_json(path)
        return metrics["prompt"] == prompt and metrics["about"] == about


def _optimise(generator, reward, prompts: list[str], folders: dict, settings: dict, about: dict):
    """Optimise a batch of prompts and write their folders, metrics last."""
    import torch
    from PIL import Image
    from safetensors.torch import save_file

    from ttsnap.noise.reward import optimise_reward
    from ttsnap.sft.generator import base_noise

    condition = generator.embed(prompts)
    eps = base_noise(generator, about["seed"], prompts)

    def of_rows(images: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        return reward(images, [prompts[row] for row in rows.tolist()])

    found = optimise_reward(generator, of_rows, eps, condition, settings)
    with torch.no_grad():
        images = {
            "first": generator.pixels(generator.latents(eps, condition)),
            "best": generator.pixels(generator.latents(found.noise, condition)),
        }
        shown = {k: (v.clamp(0, 1) * 255).round().to(torch.uint8) for k, v in images.items()}
        rewards = {k: reward(v.float() / 255, prompts).tolist() for k, v in shown.items()}
    drift = (found.noise - eps).square().flatten(1).mean(1).tolist()
    for n, prompt in enumerate(prompts):
        folder = folders[prompt]
        for name, pictures in shown.items():
            picture = pictures[n].permute(1, 2, 0).cpu().numpy()
            with replacing(folder / f"{name}.png") as temporary:
                Image.fromarray(picture).save(temporary, format="PNG")
        tensors = {"noise": found.noise[n], "base": eps[n], "state": found.state[n]}
        with replacing(folder / "noise.safetensors") as temporary:
            save_file({k: v.cpu().clone().contiguous() for k, v in tensors.items()}, temporary)
        metrics = {
            "prompt": prompt,
            "reward_first": rewards["first"][n],
            "reward_best": rewards["best"][n],
            "objective": found.history[:, n].tolist(),
            "best_step": int(found.history[:, n].argmin()),
            "drift": drift[n],
            "about": about,
        }
        write_json(folder / "metrics.json", metrics)


def _summary(out: Path, about: dict, patch: int) -> dict:
    """Write summary.json and the diagnostics over all prompts of the folder; return the summary."""
    import torch
    from safetensors.torch import load_file

    from ttsnap.report import diagnostics
    from ttsnap.storage.files import read_json, reading
    from ttsnap.storage.prompts import file_name

    there = [(path.parent, read_json(path)) for path in sorted(out.glob("*/metrics.json"))]
    there = [(folder, m) for folder, m in there if folder.name == file_name(m["prompt"])]
    folders, metrics = zip(*(found for found in there if found[1]["about"] == about), strict=True)
    noises = []
    for folder in folders:
        with reading(path := folder / "noise.safetensors", "damaged", "delete its folder"):
            noises.append(load_file(path))
    eps, z, state = (torch.stack([n[key] for n in noises]) for key in ("base", "noise", "state"))
    patch = patch if eps.ndim == 4 else 1
    q = state if state.ndim == 3 and state.shape[-1] == state.shape[-2] else None
    diagnostics.write(out, "diagnostics_first", eps, eps, patch)
    found = diagnostics.write(out, "diagnostics_best", eps, z, patch, q)
    mean = {
        key: sum(m[key] for m in metrics) / len(metrics)
        for key in ("reward_first", "reward_best", "drift")
    }
    summary = {
        "prompts": len(metrics),
        **mean,
        "improved": sum(m["reward_best"] > m["reward_first"] for m in metrics),
        "largest_relative_norm_change": found["largest_relative_norm_change"],
        "about": about,
    }
    write_json(out / "summary.json", summary)
    units = Units.from_json(about["units"], about["reward"])
    first, best = (units.reported(mean[key]) for key in ("reward_first", "reward_best"))
    print(f"{summary['prompts']} prompts: {units.label} {first:.4f} → {best:.4f} (of the 8-bit images), "
          f"{summary['improved']} improved")  # fmt: skip
    return summary
