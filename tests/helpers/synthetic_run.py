"""A small run with made-up numbers and drawn images: the files of the workflow, without its models."""

from pathlib import Path

import numpy as np

from ttsnap.cli import main
from ttsnap.shapes.captions import parse, random_caption
from ttsnap.shapes.world import place, render
from ttsnap.storage.files import write_json
from ttsnap.storage.image_shards import write_shard
from ttsnap.storage.tensor import RewardTensor, write_tensor

STEPS, LEVELS = 10, [6, 4, 3, 2, 1]
ATTRS = {
    "model": "synthetic",
    "scheduler": "EulerDiscreteScheduler",
    "seed": 0,
    "denoise_tflop": 0.0021,
    "decode_tflop": 0.0016,
    "reward_tflop": 0.0004,
    "look_tflop": 0.002,
}


def make_run(folder: Path, prompts: int = 12, candidates: int = 20, rewards=("pickscore", "aesthetic")) -> None:
    """Tensors, images, finetuning figures, alignment, schedules and simulations below `folder`."""
    rng = np.random.default_rng(0)
    captions = [random_caption(rng, 2, "held_out").text() for _ in range(prompts)]
    quality = rng.normal(size=(prompts, candidates))
    accepted = quality + 0.5 * rng.normal(size=quality.shape) > 0
    write_images(folder / "images/test/0000.h5", captions, quality, accepted, rng)
    for reward in rewards:
        for split in ("validation", "test"):
            tensor = make_tensor(reward, captions, quality, accepted, rng)
            write_tensor(folder / f"tensors/{split}.{reward}.h5", tensor)
        for level in LEVELS:
            tau = 0.2 + 0.05 * level
            gained = -0.01 if level == 4 else 0.06
            figures = {
                "level": level,
                "kept": "trained" if gained > 0 else "start",
                "version": f"v{level}",
                "validation_tau_start": tau,
                "validation_tau_trained": tau + gained,
            }
            write_json(folder / f"levels/{reward}/{level}.json", figures)
        analyse(folder, reward)
    if len(rewards) > 1:
        tensors = [f"{folder}/tensors/test.{reward}.h5" for reward in rewards]
        schedule = f"{folder}/schedules/{rewards[0]}.ttsnap.json"
        run("simulate", *tensors, "--schedule", schedule, "--budgets", budgets(), "--json",
            f"{folder}/simulations/all.json")  # fmt: skip


def make_tensor(reward, captions, quality, accepted, rng) -> RewardTensor:
    """Rewards that follow the quality ever closer from step to step, the noise-aware ones sooner."""
    shape = (*quality.shape, STEPS)
    clean = np.linspace(0.05, 1, STEPS)
    hard = rng.normal(size=(len(captions), 1, 1))
    noise = rng.normal(size=shape)
    base = 20 + hard + quality[..., None] * clean + noise * (1.05 - clean)
    base[..., -1] = 20 + hard[..., 0] + quality
    aware = 20 + hard + quality[..., None] * np.sqrt(clean) + noise * (1.05 - np.sqrt(clean))
    aware[:, :, [s for s in range(STEPS) if s not in LEVELS]] = np.nan
    verdicts = np.repeat(accepted[..., None], STEPS, 2)
    versions = ",".join(f"{level}:v{level}" for level in sorted(LEVELS))
    about = {**ATTRS, "reward": reward, "levels": LEVELS, "level_versions": versions}
    return RewardTensor(base, aware, verdicts, captions, attrs=about)


def write_images(path, captions, quality, accepted, rng) -> None:
    """Scenes that emerge from a grey fog; a refused candidate shows another caption."""

    def rows():
        for p, text in enumerate(captions):
            told = [parse(text) if ok else random_caption(rng, 2) for ok in accepted[p]]
            final = np.asarray(render(place(rng, told))).reshape(len(told), 3, 64, 64)
            final = final.transpose(0, 2, 3, 1)
            steps = []
            for s in range(STEPS):
                clear = (s + 1) / STEPS
                fog = 0.8 + 0.25 * (1 - clear) * rng.normal(size=final.shape)
                steps.append(np.clip(clear * final + (1 - clear) * fog, 0, 1))
            yield (np.stack(steps, 1) * 255).round().astype(np.uint8)

    write_shard(path, captions, list(range(STEPS)), rows(), ATTRS)


def budgets() -> str:
    best_of_n = STEPS * ATTRS["denoise_tflop"] + ATTRS["look_tflop"]  # per candidate
    return ",".join(f"{best_of_n * n * 1.0001:.6f}" for n in range(2, 9))


def analyse(folder: Path, reward: str) -> None:
    """align, fit-schedule and simulate, as the workflow runs them."""
    validation, test = (f"{folder}/tensors/{split}.{reward}.h5" for split in ("validation", "test"))
    run("align", test, "--json", f"{folder}/alignment/test.{reward}.json")
    fitted = {}
    for method in ("ttsp", "ttsnap"):
        fitted[method] = f"{folder}/schedules/{reward}.{method}.json"
        run("fit-schedule", validation, "--method", method, "--budgets", budgets(),
            "--evaluations", "200", "--json", fitted[method])  # fmt: skip
    run("simulate", test, "--schedule", fitted["ttsnap"], "--ttsp-schedule", fitted["ttsp"],
        "--budgets", budgets(), "--json", f"{folder}/simulations/{reward}.json")  # fmt: skip


def run(*words: str) -> None:
    assert main([str(word) for word in words]) == 0, words


def report_parts(folder: Path, reward: str = "pickscore") -> dict[str, list[str]]:
    """The command line of every part of the report of a run: {output: words}."""
    report, simulation = folder / "report", f"{folder}/simulations/{reward}.json"
    tensor, alignment = (
        f"{folder}/tensors/test.{reward}.h5", f"{folder}/alignment/test.{reward}.json"
    )  # fmt: skip
    levels = [f"{folder}/levels/{reward}/{level}.json" for level in LEVELS]
    schedules = [f"{folder}/schedules/{reward}.{m}.json" for m in ("ttsp", "ttsnap")]
    images = f"{folder}/images/test/0000.h5"
    parts = {
        f"budget.{reward}.png": ["--simulation", simulation],
        f"tau.{reward}.png": ["--alignment", alignment, "--simulation", simulation],
        f"cost.{reward}.html": ["--simulation", simulation, "--tensor", tensor],
        f"levels.{reward}.html": ["--alignment", alignment, "--level", *levels],
        f"gain.{reward}.html": ["--simulation", simulation, "--schedule", *schedules],
        f"gallery.{reward}.html": [
            "--simulation", simulation, "--tensor", tensor, "--images", images, "--prompts", "3",
        ],
    }  # fmt: skip
    return {
        name: ["report", "--part", name.split(".")[0], *words, "--out", str(report / name)]
        for name, words in parts.items()
    }
