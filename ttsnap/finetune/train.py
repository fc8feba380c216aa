"""Noise-aware finetuning of one level (DESIGN §3): one pass over its Tweedie images, resumable."""

import hashlib
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from ttsnap.errors import TtsnapError
from ttsnap.files import replacing
from ttsnap.finetune import losses
from ttsnap.rewards.base import Reward
from ttsnap.rewards.groups import Groups, autocast

# Seconds between saved states
SAVE_EVERY = float(os.environ.get("TTSNAP_SAVE_EVERY", 20))


def rate_factor(step: int, steps: int, decay: str, warmup: float) -> float:
    """Learning-rate factor: optional linear warm-up, then from 1 down to 0.5 (DESIGN §3)."""
    warm = round(warmup * steps)
    if step < warm:
        return (step + 1) / warm
    done = (step - warm) / max(1, steps - warm)
    return {
        "linear": 1 - 0.5 * done,
        "cosine": 0.75 + 0.25 * float(np.cos(np.pi * done)),
        "exponential": 0.5**done,
        "constant": 1.0,
    }[decay]


def batches(
    prompts: int, candidates: int, batch_size: int, epochs: int, seed: int
) -> list[list[int]]:
    """The prompts of every optimiser step: whole groups, each prompt once an epoch."""
    rng = np.random.default_rng(seed)
    size = max(1, batch_size // candidates)
    order = [rng.permutation(prompts).tolist() for _ in range(epochs)]
    return [epoch[start : start + size] for epoch in order for start in range(0, prompts, size)]


def train_level(
    reward: Reward,
    parameters: dict[str, torch.nn.Parameter],
    data: Groups,
    settings: dict,
    *,
    seed: int,
    state: Path | None = None,
    name: str = "level",
) -> list[float]:
    """Train `parameters` of `reward` in place; returns the loss of every step.

    settings: the keys of config.Finetune. state: where to keep progress; a run killed half-way and started again with
    the same arguments ends with the same weights. Raises TtsnapError when the loss is not finite.
    """
    candidates = data.targets.shape[1]
    plan = batches(len(data.prompts), candidates, settings["batch_size"], settings["epochs"], seed)
    optimiser = torch.optim.AdamW(parameters.values(), lr=settings["lr"], weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser,
        lambda step: rate_factor(step, len(plan), settings["decay"], settings["warmup"]),
    )
    identity = _identity(parameters, data, settings, seed)
    history = _restore(state, identity, parameters, optimiser, schedule)
    if history:
        print(f"{name}: goes on after step {len(history)} of {len(plan)}", file=sys.stderr)
    device = next(iter(parameters.values())).device
    over, saved = settings["standardise"], time.monotonic()
    reward.train()
    for step in tqdm(range(len(history), len(plan)), desc=name, mininterval=5):
        images, prompts = data.batch(plan[step], device)
        target = torch.from_numpy(data.targets[plan[step]]).to(device)
        with autocast(device):
            predicted = reward(images, prompts).float().view(target.shape)
        if settings["loss"] == "mse":
            loss = losses.mse(predicted, target, over)
        else:
            loss = losses.preference(predicted, target, over, settings["temperature"])
        if not torch.isfinite(loss):
            raise TtsnapError(
                f"{name}: loss is {loss.item()} at step {step}; lower the learning rate"
            )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters.values(), 5.0)
        optimiser.step()
        schedule.step()
        history.append(loss.item())
        if state and time.monotonic() - saved > SAVE_EVERY:
            _save(state, identity, parameters, optimiser, schedule, history)
            saved = time.monotonic()
    reward.eval()
    return history


def _identity(parameters: dict, data: Groups, settings: dict, seed: int) -> str:
    """What a saved state belongs to: start weights, targets, prompts and settings."""
    digest = hashlib.sha256(json.dumps([settings, seed, data.prompts], sort_keys=True).encode())
    digest.update(np.ascontiguousarray(data.targets).tobytes())
    for value in parameters.values():
        digest.update(value.detach().cpu().numpy().tobytes())
    return digest.hexdigest()


def _save(state: Path, identity: str, parameters, optimiser, schedule, history) -> None:
    with replacing(state) as temporary:
        torch.save(
            {
                "identity": identity,
                "parameters": {name: value.detach() for name, value in parameters.items()},
                "optimiser": optimiser.state_dict(),
                "schedule": schedule.state_dict(),
                "history": history,
            },
            temporary,
        )


def _restore(state: Path | None, identity: str, parameters, optimiser, schedule) -> list[float]:
    """Continue from a saved state when it belongs to this very run; returns the losses so far."""
    if state is None or not state.exists():
        return []
    saved = torch.load(state, weights_only=True)
    if saved["identity"] != identity:
        return []
    with torch.no_grad():
        for name, value in saved["parameters"].items():
            parameters[name].copy_(value)
    optimiser.load_state_dict(saved["optimiser"])
    schedule.load_state_dict(saved["schedule"])
    return saved["history"]
