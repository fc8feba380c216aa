"""Turn published reward values, a folder of YAML files, into a reward tensor."""

import argparse
import math
import re
from pathlib import Path

import numpy as np
import yaml

from ttsnap.commands.options import in_file, in_folder, number, out_file, whole
from ttsnap.errors import BadInput, reads
from ttsnap.pruning.units import UNITS
from ttsnap.storage.files import read_json, reading
from ttsnap.storage.tensor import RewardTensor, write_tensor

NAME = re.compile(r"p(\d+)_i(\d+)_s(\d+)\.ya?ml")
REWARDS = {"imr": "imagereward", "hps": "hpsv2", "pic": "pickscore", "pick": "pickscore"}
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--base",
        type=in_folder,
        required=True,
        metavar="DIR",
        help="base values: p200_i200_sNN.yaml, one per step",
    )
    parser.add_argument(
        "--noise-aware", type=in_folder, metavar="DIR", help="noise-aware values, likewise"
    )
    parser.add_argument(
        "--out", type=out_file, required=True, metavar="FILE", help="reward tensor to write (HDF5)"
    )
    parser.add_argument("--model", help="by default the first word of the folder's name")
    parser.add_argument("--reward", help="by default from the second word of the folder's name")
    parser.add_argument(
        "--kind", choices=sorted(set(REWARDS.values())),
        help="whose values they are, and so their units; by default as the folder's name says",
    )  # fmt: skip
    parser.add_argument(
        "--num-steps", type=whole(1, 1000), help="by default the last step found, plus 1"
    )
    parser.add_argument(
        "--prompts-file", type=in_file, metavar="FILE", help="JSON list of the prompts' text"
    )
    parser.add_argument(
        "--denoise-cost", type=number(0), metavar="TFLOP", help="to note as denoise_tflop"
    )
    parser.add_argument(
        "--look-cost", type=number(0), metavar="TFLOP", help="to note as look_tflop"
    )


def run(args: argparse.Namespace) -> dict:
    base = read_values(args.base)
    noise_aware = read_values(args.noise_aware) if args.noise_aware else None
    num_steps = args.num_steps or max(base) + 1
    if num_steps - 1 not in base:
        raise BadInput(f"--base: {args.base} has no values of the final step {num_steps - 1}")
    words = _words(args.base)
    if (
        noise_aware
        and "" not in (*words, *(others := _words(args.noise_aware)))
        and words != others
    ):
        raise BadInput(
            f"--noise-aware: {args.noise_aware} is of {' '.join(others)} by its name, --base of {' '.join(words)}"
        )
    kind = args.kind or REWARDS.get(words[1], words[1])
    attrs = {
        "model": args.model or words[0],
        "reward": args.reward or kind or "reward",
        "units": UNITS[kind].to_json() if kind in UNITS else None,
        "denoise_tflop": args.denoise_cost,
        "look_tflop": args.look_cost,
        "source": "published values",
    }
    shape = (*base[num_steps - 1].shape, num_steps)
    tensor = RewardTensor(
        _joined(base, shape, args.base),
        None if noise_aware is None else _joined(noise_aware, shape, args.noise_aware),
        prompts=_prompts(args.prompts_file, shape[0]),
        attrs={key: value for key, value in attrs.items() if value is not None},
    )
    write_tensor(args.out, tensor)
    print(f"{args.out}: {shape[0]} prompts, {shape[1]} candidates, {num_steps} steps")
    return {
        "out": str(args.out),
        "prompts": shape[0],
        "candidates": shape[1],
        "steps": num_steps,
        "base_steps": tensor.base_steps,
        "levels": tensor.levels,
        **tensor.attrs,
    }


def _words(folder: str) -> list[str]:
    """Model and reward by a folder's name, as published: flux_imr_val_base."""
    return [*Path(folder).resolve().name.split("_"), "", ""][:2]


def read_values(folder: str | Path) -> dict[int, np.ndarray]:
    """{step: float32 [P, C]} of a folder of p<P>_i<C>_s<step>.yaml, prompt index: list of values.

    Raises `BadInput`, naming the file and the prompt, for what is missing, uneven or not a number.
    """
    if not Path(folder).is_dir():
        raise BadInput(f"{folder}: no such folder")
    files = {}
    with reading(folder, "cannot be read"):
        names = sorted(Path(folder).iterdir())
    for path in names:
        if match := NAME.fullmatch(path.name):
            step = int(match[3])
            if step in files:
                raise BadInput(f"{path}: step {step} is also in {files[step].name}; keep one")
            files[step] = path
    if not files:
        raise BadInput(f"{folder}: no file p<prompts>_i<images>_s<step>.yaml in it")
    return {step: _read_step(path) for step, path in sorted(files.items())}


@reads("a YAML file of values", "fetch it again")
def _read_step(path: Path) -> np.ndarray:
    prompts, images, _ = map(int, NAME.fullmatch(path.name).groups())
    with reading(path, "not a YAML file", "fetch it again"):
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=LOADER)
    if not isinstance(content, dict) or sorted(map(str, content)) != sorted(
        map(str, range(prompts))
    ):
        raise BadInput(f"{path}: its keys are not the prompts 0..{prompts - 1}; fetch it again")
    by_prompt = {int(key): values for key, values in content.items()}
    for prompt, values in sorted(by_prompt.items()):
        if not isinstance(values, list) or len(values) != images:
            raise BadInput(f"{path}: prompt {prompt} has no list of {images} values")
        for candidate, value in enumerate(values):
            value = values[candidate] = _number(value)
            if value is None:
                raise BadInput(f"{path}: prompt {prompt}, candidate {candidate}: not a number")
            if not math.isfinite(value):
                raise BadInput(
                    f"{path}: prompt {prompt}, candidate {candidate} is {value}; "
                    "score that prompt again or leave it out"
                )
    return np.array([by_prompt[prompt] for prompt in range(prompts)], np.float32)


def _number(value: object) -> float | None:
    """A number of a YAML file, None for anything else; PyYAML leaves `1e-05` a text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except ValueError:
        return None


def _joined(values: dict[int, np.ndarray], shape: tuple, folder: str) -> np.ndarray:
    """float32 [P, C, S], NaN at the steps without values."""
    joined = np.full(shape, np.nan, np.float32)
    for step, of_step in values.items():
        if step >= shape[2]:
            raise BadInput(f"{folder}: step {step} is beyond the last of {shape[2]} steps")
        if of_step.shape != shape[:2]:
            raise BadInput(
                f"{folder}: step {step} has {of_step.shape[0]} prompts × {of_step.shape[1]} "
                f"values, the final base step has {shape[0]} × {shape[1]}"
            )
        joined[:, :, step] = of_step
    return joined


def _prompts(path: str | None, count: int) -> list[str]:
    """The first `count` prompts of a JSON list; without a file they are left to be numbered."""
    if path is None:
        return []
    prompts = read_json(path)
    if not isinstance(prompts, list) or not all(isinstance(text, str) for text in prompts):
        raise BadInput(f"{path}: not a JSON list of strings")
    if len(prompts) < count:
        raise BadInput(f"{path}: {len(prompts)} prompts for {count} in the values")
    return prompts[:count]
