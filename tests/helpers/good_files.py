"""A small good file of every kind that ttsnap reads, made without torch; for tests of refusals and the fuzzer."""

import json
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

from ttsnap.cli import main
from ttsnap.storage.files import write_json
from ttsnap.storage.image_shards import read_shard, write_shard
from ttsnap.storage.scores import Scores, write_scores
from ttsnap.storage.tensor import RewardTensor, write_tensor

PROMPTS = ["a red circle", "a blue square above a green circle", "ein grüner Kreis"]
STEPS, CANDIDATES, SIDE = 6, 5, 16
ABOUT = {
    "model": "made-up", "scheduler": "EulerDiscreteScheduler", "seed": 0, "steps": STEPS,
    "denoise_tflop": 0.002, "decode_tflop": 0.001,
}  # fmt: skip


def make(folder: Path) -> dict[str, Path]:
    """{name: file} of files that every reader takes."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    files = {name: folder / name for name in ("images.h5", "base.h5", "tensor.h5", "other.h5")}
    rows = (rng.integers(0, 255, (CANDIDATES, STEPS, SIDE, SIDE, 3)).astype(np.uint8) for _ in PROMPTS)
    write_shard(files["images.h5"], PROMPTS, list(range(STEPS)), rows, ABOUT)
    values = rng.normal(size=(len(PROMPTS), CANDIDATES, STEPS)).astype(np.float32)
    made_from = {"kind": "pickscore", "version": "v", "options": {}}
    base = {"kind": "base", "reward": "pickscore", "made_from": made_from, "raw": [1.0, 0.0]}
    base |= {"units": {}, "reward_tflop": 0.001, "levels": {}}
    _scores(files["base.h5"], files["images.h5"], values, base)
    for name, reward in (("tensor.h5", "pickscore"), ("other.h5", "aesthetic")):
        about = {**ABOUT, "reward": reward, "reward_tflop": 0.001, "look_tflop": 0.002}
        aware = np.where(np.arange(STEPS) == 2, values, np.nan)
        tensor = RewardTensor(values, aware, values > 0, PROMPTS, attrs={**about, "levels": [2]})
        write_tensor(files[name], tensor)
    files |= _texts(folder) | _pictures(folder) | _results(folder, str(files["tensor.h5"]))
    return files


def _scores(path: Path, images: Path, values: np.ndarray, about: dict) -> None:
    scores = Scores.from_shard(read_shard(images), values, list(range(STEPS)), about)
    write_scores(path, scores)


def _texts(folder: Path) -> dict[str, Path]:
    lines = [json.dumps({"prompt": text}, ensure_ascii=False) for text in PROMPTS]
    texts = {
        "prompts.txt": "\n".join(PROMPTS),
        "prompts.json": json.dumps(PROMPTS),
        "prompts.jsonl": "\n".join(lines),
        "prompts.csv": "number,prompt\n" + "\n".join(f'{n},"{p}"' for n, p in enumerate(PROMPTS)),
        "pairs.jsonl": "\n".join(
            json.dumps({"prompt": text, "image": f"picture.{end}"})
            for text, end in zip(PROMPTS, ("png", "jpg", "tif"), strict=True)
        ),
        "values/p2_i3_s5.yaml": "0: [0.5, 1.5, -2.0]\n1: [0.25, 1.0e-3, 7]\n",
    }
    for name, text in texts.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text + "\n", encoding="utf-8")
    return {name: folder / name for name in texts}


def _pictures(folder: Path) -> dict[str, Path]:
    rng, files = np.random.default_rng(1), {}
    picture = Image.fromarray(rng.integers(0, 255, (24, 20, 3)).astype(np.uint8))
    for name in ("picture.png", "picture.jpg", "picture.tif", "tree/p0000/id000/s00.png"):
        files[name] = folder / name
        files[name].parent.mkdir(parents=True, exist_ok=True)
        picture.save(files[name])
    write_json(folder / "tree/prompts.json", PROMPTS)
    return files


def _results(folder: Path, tensor: str) -> dict[str, Path]:
    """The JSON that align, fit-schedule and simulate write for the tensor, and the figures of a finetune."""
    names = ("alignment.json", "schedule.json", "simulation.json", "level.json")
    files = {name: folder / name for name in names}
    budgets = ["--budgets", "1:5:1", "--budgets-in", "candidates"]
    look = ["--steps", "1,2", "--keep", "0.5,0.5"]
    for words in (
        ["align", tensor, "--json", files["alignment.json"]],
        ["fit-schedule", tensor, *budgets, "--evaluations", "5", "--json", files["schedule.json"]],
        ["simulate", tensor, *budgets, *look, "--draws", "5", "--json", files["simulation.json"]],
    ):
        assert main([str(word) for word in words]) == 0, words
    level = {"level": 2, "kept": "trained", "version": "v", "validation_tau_start": 0.1}
    write_json(files["level.json"], {**level, "validation_tau_trained": 0.2})
    return files


def not_ours(path: Path) -> Path:
    """An HDF5 file that is not ttsnap's."""
    with h5py.File(path, "w") as file:
        file["values"] = np.zeros(3)
    return path
