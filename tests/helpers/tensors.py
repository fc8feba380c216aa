"""Reward tensors made up, and values in the published format."""

import numpy as np
import yaml

from ttsnap.storage.tensor import RewardTensor


def example(prompts=3, candidates=6, steps=5, seed=0, ties=False, name="clip") -> RewardTensor:
    rng = np.random.default_rng(seed)
    final = rng.normal(size=(prompts, candidates, 1))
    noise = np.linspace(1, 0, steps)
    base = final + 2 * noise * rng.normal(size=(prompts, candidates, steps))
    noise_aware = final + noise * rng.normal(size=base.shape)
    if ties:
        base, noise_aware = base.round(), noise_aware.round()
    noise_aware[:, :, steps - 2 :] = np.nan
    attrs = {"reward": name, "denoise_tflop": 1.0, "look_tflop": 0.5}
    return RewardTensor(base, noise_aware, accepted=base > 0.5, attrs=attrs)


def write_values(folder, values):
    """Published format: one YAML file per step, prompt index: one value per image."""
    folder.mkdir()
    prompts, candidates, _ = values.shape
    for step in range(values.shape[2]):
        if np.isnan(values[0, 0, step]):
            continue
        content = {p: values[p, :, step].tolist() for p in range(prompts)}
        name = f"p{prompts}_i{candidates}_s{step:02d}.yaml"
        (folder / name).write_text(yaml.safe_dump(content))
