"""Published reward values: folders with one YAML file per step, read into a reward tensor."""

import math
import re
from pathlib import Path

import numpy as np
import yaml

from ttsnap.errors import BadInput, reads
from ttsnap.pruning.units import REWARD_UNITS
from ttsnap.storage.files import read_json, reading
from ttsnap.storage.tensor import RewardTensor

VALUES_FILE = re.compile(r"p(\d+)_i(\d+)_s(\d+)\.ya?ml")
FOLDER_REWARDS = {"imr": "imagereward", "hps": "hpsv2", "pic": "pickscore", "pick": "pickscore"}
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def published_tensor(
    base: str | Path,
    noise_aware: str | Path | None = None,
    *,
    steps: int | None = None,
    prompts: str | Path | None = None,
    model: str | None = None,
    reward: str | None = None,
    kind: str | None = None,
    denoise_tflop: float | None = None,
    look_tflop: float | None = None,
) -> RewardTensor:
    """The tensor of a folder of base values and, optionally, one of noise-aware values.

    steps: by default the last step found, plus 1. prompts: a JSON list of their texts. model, reward, kind (whose
    units the values have): by default from the folder's name. denoise_tflop, look_tflop: recorded as attributes.

    Raises BadInput for values that are missing, uneven or not numbers, for folders of two rewards, and for a final
    step without base values.
    """
    values = read_values(base)
    aware = read_values(noise_aware) if noise_aware else None
    steps = steps or max(values) + 1
    if steps - 1 not in values:
        raise BadInput(f"--base: {base} has no values of the final step {steps - 1}")
    words = _words(base)
    if aware and "" not in (*words, *(others := _words(noise_aware))) and words != others:
        raise BadInput(
            f"--noise-aware: {noise_aware} is of {' '.join(others)} by its name, --base of {' '.join(words)}"
        )
    kind = kind or FOLDER_REWARDS.get(words[1], words[1])
    attributes = {
        "model": model or words[0],
        "reward": reward or kind or "reward",
        "units": REWARD_UNITS[kind].to_json() if kind in REWARD_UNITS else None,
        "denoise_tflop": denoise_tflop,
        "look_tflop": look_tflop,
        "source": "published values",
    }
    shape = (*values[steps - 1].shape, steps)
    return RewardTensor(
        _joined(values, shape, base),
        None if aware is None else _joined(aware, shape, noise_aware),
        prompts=_texts(prompts, shape[0]),
        attrs={key: value for key, value in attributes.items() if value is not None},
    )


def read_values(folder: str | Path) -> dict[int, np.ndarray]:
    """{step: float32 [P, C]} of a folder of p<P>_i<C>_s<step>.yaml, which map a prompt index to a list of values.

    Raises BadInput, naming file and prompt, for values that are missing, uneven or not numbers.
    """
    if not Path(folder).is_dir():
        raise BadInput(f"{folder}: no such folder")
    with reading(folder, "cannot be read"):
        paths = sorted(Path(folder).iterdir())
    files: dict[int, Path] = {}
    for path in paths:
        if match := VALUES_FILE.fullmatch(path.name):
            first = files.setdefault(int(match[3]), path)
            if first != path:
                raise BadInput(f"{path}: step {int(match[3])} is also in {first.name}; keep one")
    if not files:
        raise BadInput(f"{folder}: no file p<prompts>_i<images>_s<step>.yaml in it")
    return {step: _read_step(path) for step, path in sorted(files.items())}


def _words(folder: str | Path) -> list[str]:
    """Model and reward from a folder's name, as published: flux_imr_val_base."""
    return [*Path(folder).resolve().name.split("_"), "", ""][:2]


@reads("a YAML file of values", "fetch it again")
def _read_step(path: Path) -> np.ndarray:
    prompts, images, _ = map(int, VALUES_FILE.fullmatch(path.name).groups())
    with reading(path, "not a YAML file", "fetch it again"):
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=LOADER)
    if not isinstance(content, dict) or sorted(map(str, content)) != sorted(map(str, range(prompts))):
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
                where = f"{path}: prompt {prompt}, candidate {candidate}"
                raise BadInput(f"{where} is {value}; score that prompt again or leave it out")
    return np.array([by_prompt[prompt] for prompt in range(prompts)], np.float32)


def _number(value: object) -> float | None:
    """A number of a YAML file, None for anything else; PyYAML reads `1e-05` as text."""
    try:
        return None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None


def _joined(values: dict[int, np.ndarray], shape: tuple, folder: str | Path) -> np.ndarray:
    """float32 [P, C, S], NaN at the steps without values."""
    joined = np.full(shape, np.nan, np.float32)
    for step, rewards in values.items():
        if step >= shape[2]:
            raise BadInput(f"{folder}: step {step} is beyond the last of {shape[2]} steps")
        if rewards.shape != shape[:2]:
            found, wanted = (" × ".join(map(str, s[:2])) for s in (rewards.shape, shape))
            raise BadInput(f"{folder}: step {step} has {found} (prompts × values), the final base step has {wanted}")
        joined[:, :, step] = rewards
    return joined


def _texts(path: str | Path | None, count: int) -> list[str]:
    """The first `count` prompts of a JSON list; [] without a file."""
    if path is None:
        return []
    prompts = read_json(path)
    if not isinstance(prompts, list) or not all(isinstance(text, str) for text in prompts):
        raise BadInput(f"{path}: not a JSON list of strings")
    if len(prompts) < count:
        raise BadInput(f"{path}: {len(prompts)} prompts for {count} in the values")
    return prompts[:count]
