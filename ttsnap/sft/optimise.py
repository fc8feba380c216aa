"""Optimising the noise of prompts by a reward: a folder for each prompt, and figures over all of them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from ttsnap.errors import foreign_content
from ttsnap.noise.reward import optimise_reward
from ttsnap.report import diagnostics
from ttsnap.sft.generator import Generator, base_noise
from ttsnap.storage.files import read_json, reading, replacing, write_json
from ttsnap.storage.prompts import file_name

RewardFunction = Callable[[torch.Tensor, list[str]], torch.Tensor]


def optimise_prompts(
    generator: Generator,
    reward: RewardFunction,
    prompts: Sequence[str],
    out: str | Path,
    settings: Mapping,
    *,
    seed: int = 0,
    about: Mapping | None = None,
) -> dict:
    """Optimise the noise of every prompt not yet finished in the folder `out`; returns the content of summary.json.

    reward(images [n, 3, H, W] around [0, 1], n prompts) → [n], differentiable. settings: the keys of
    settings.sft.Optimise. about: what else the results depend on, in JSON types. A prompt is finished when its
    metrics.json names all of these; the summary covers all finished prompts of the folder.
    """
    out, size = Path(out), settings["batch_size"]  # which changes no result
    about = {
        "model": generator.version,
        "size": list(generator.image_shape[1:]),
        "seed": seed,
        **(about or {}),
        "settings": {key: value for key, value in settings.items() if key != "batch_size"},
    }
    todo = [prompt for prompt in prompts if not _finished(out, prompt, about)]
    with tqdm(total=len(prompts), initial=len(prompts) - len(todo), desc="optimize-noise") as bar:
        for first in range(0, len(todo), size):
            batch = todo[first : first + size]
            for prompt, found in zip(batch, _optimise(generator, reward, batch, settings, seed), strict=True):
                _write(out / file_name(prompt), found, about)
            bar.update(len(batch))
    return _summarise(out, about, settings["patch"])


def _finished(out: Path, prompt: str, about: dict) -> bool:
    """Whether a run with the same settings has finished the prompt."""
    path = out / file_name(prompt) / "metrics.json"
    if not path.exists():
        return False
    with foreign_content(path, "the figures of a prompt", "delete it to do the prompt again"):
        metrics = read_json(path)
        return metrics["prompt"] == prompt and metrics["about"] == about


def _optimise(
    generator: Generator, reward: RewardFunction, prompts: list[str], settings: Mapping, seed: int
) -> list[dict]:
    """Optimise a batch of prompts at once: {"images", "tensors", "metrics"} of each."""
    condition = generator.embed(prompts)
    eps = base_noise(generator, seed, prompts)

    def reward_of_rows(images: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        return reward(images, [prompts[row] for row in rows.tolist()])

    found = optimise_reward(generator, reward_of_rows, eps, condition, settings)
    with torch.no_grad():
        noises = {"first": eps, "best": found.noise}
        images = {k: generator.pixels(generator.latents(z, condition)) for k, z in noises.items()}
        images = {k: (v.clamp(0, 1) * 255).round().to(torch.uint8) for k, v in images.items()}
        rewards = {k: reward(v.float() / 255, prompts).tolist() for k, v in images.items()}
    drift = (found.noise - eps).square().flatten(1).mean(1).tolist()
    tensors = {"noise": found.noise, "base": eps, "state": found.state}
    return [
        {
            "images": {k: v[n].permute(1, 2, 0).cpu().numpy() for k, v in images.items()},
            "tensors": {k: v[n].cpu().clone().contiguous() for k, v in tensors.items()},
            "metrics": {
                "prompt": prompt,
                "reward_first": rewards["first"][n],
                "reward_best": rewards["best"][n],
                "objective": found.history[:, n].tolist(),
                "best_step": int(found.history[:, n].argmin()),
                "drift": drift[n],
            },
        }
        for n, prompt in enumerate(prompts)
    ]


def _write(folder: Path, found: Mapping, about: dict) -> None:
    """Write the folder of a prompt, its metrics last."""
    for name, picture in found["images"].items():
        with replacing(folder / f"{name}.png") as temporary:
            Image.fromarray(picture).save(temporary, format="PNG")
    with replacing(folder / "noise.safetensors") as temporary:
        save_file(found["tensors"], temporary)
    write_json(folder / "metrics.json", found["metrics"] | {"about": about})


def _summarise(out: Path, about: dict, patch: int) -> dict:
    """Write summary.json and the diagnostics over all prompts of the folder; return the summary."""
    metrics, noises = [], []
    for path in sorted(out.glob("*/metrics.json")):
        figures = read_json(path)
        if path.parent.name == file_name(figures["prompt"]) and figures["about"] == about:
            metrics.append(figures)
            with reading(path := path.with_name("noise.safetensors"), "damaged", "delete its folder"):
                noises.append(load_file(path))
    eps, z, state = (torch.stack([n[key] for n in noises]) for key in ("base", "noise", "state"))
    patch = patch if eps.ndim == 4 else 1
    q = state if state.ndim == 3 and state.shape[-1] == state.shape[-2] else None
    diagnostics.write(out, "diagnostics_first", eps, eps, patch)
    compared = diagnostics.write(out, "diagnostics_best", eps, z, patch, q)
    keys = ("reward_first", "reward_best", "drift")
    summary = {
        "prompts": len(metrics),
        **{key: sum(m[key] for m in metrics) / len(metrics) for key in keys},
        "improved": sum(m["reward_best"] > m["reward_first"] for m in metrics),
        "largest_relative_norm_change": compared["largest_relative_norm_change"],
        "about": about,
    }
    write_json(out / "summary.json", summary)
    return summary
