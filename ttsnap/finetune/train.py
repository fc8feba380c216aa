"""Noise-aware finetuning of one level: one pass over its Tweedie images, resumable (TTSnap, arXiv 2511.22242)."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from ttsnap.finetune import losses
from ttsnap.rewards.base import Reward
from ttsnap.rewards.groups import Groups, autocast, predict
from ttsnap.training.processes import ALONE, Processes
from ttsnap.training.run import TrainingRun, run_identity

GRADIENT_NORM = 5.0  # at most


def rate_factor(step: int, steps: int, decay: str, warmup: float, floor: float = 0.5) -> float:
    """Factor of the learning rate: optional linear warm-up, then from 1 down to `floor`."""
    warm = round(warmup * steps)
    if step < warm:
        return (step + 1) / warm
    done = (step - warm) / max(1, steps - warm)
    return {
        "linear": 1 - (1 - floor) * done,
        "cosine": floor + (1 - floor) * 0.5 * (1 + float(np.cos(np.pi * done))),
        "exponential": floor**done,
        "constant": 1.0,
    }[decay]


def batches(prompts: int, candidates: int, batch_size: int, epochs: int, seed: int) -> list[list[int]]:
    """The prompts of every update, each with all its candidates: each prompt once an epoch."""
    rng, size = np.random.default_rng(seed), max(1, batch_size // candidates)
    return [part for _ in range(epochs) for part in _split(rng.permutation(prompts).tolist(), size)]


def _split(prompts: list[int], size: int) -> list[list[int]]:
    return [prompts[start : start + size] for start in range(0, len(prompts), size)]


def train_level(
    reward: Reward,
    parameters: dict[str, torch.nn.Parameter],
    data: Groups,
    settings: dict,
    *,
    seed: int,
    state: Path | None = None,
    name: str = "level",
    processes: Processes = ALONE,
    about: list | None = None,
) -> list[float]:
    """Train `parameters` of `reward` in place; returns the loss of every update.

    settings: the keys of `settings.finetune.FinetuneLevel`. state: where progress is saved (see `TrainingRun`); about:
    what else the weights depend on. An update takes batch_size × accumulate × processes images; how they are split does
    not change the result, except with `standardise: batch`, which works within one forward pass. Raises TtsnapError
    when the loss is not finite.
    """
    candidates = data.targets.shape[1]
    together = processes.count * settings["accumulate"]
    size = max(1, settings["batch_size"] // candidates)
    plan = batches(len(data.prompts), candidates, size * candidates * together, settings["epochs"], seed)
    optimiser = torch.optim.AdamW(parameters.values(), lr=settings["lr"], weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: rate_factor(step, len(plan), settings["decay"], settings["warmup"], settings["floor"])
    )
    identity = run_identity(parameters, [settings, [seed, together, about], data.prompts], data.targets)
    run = TrainingRun(
        name, parameters, optimiser, identity, clip=GRADIENT_NORM, schedule=schedule, state=state, processes=processes
    )
    reward.train()
    device = next(iter(parameters.values())).device
    todo = [(n, part) for n in range(len(run.history), len(plan)) for part in share(plan[n], size, processes)]

    def load(item: tuple[int, list[int]]) -> tuple[torch.Tensor, list[str]]:
        update, prompts = item
        images, texts = data.batch(prompts, device)
        return shifted(images, settings["shift"], [[seed, update, prompt] for prompt in prompts]), texts

    loaded = read_ahead(load, todo)
    for _, prompts in run.remaining(plan):
        parts = share(prompts, size, processes)
        run.update(_backward, reward, data, settings, prompts, parts, loaded, device)
    reward.eval()
    return [loss for (loss,) in run.history]


def predict_together(reward: Reward, data: Groups, device, processes: Processes = ALONE) -> np.ndarray:
    """Rewards float32 [P,C] of every image, each process reading its share of the prompts."""
    mine = list(range(processes.rank, len(data.prompts), processes.count))
    part = Groups([data.prompts[p] for p in mine], lambda place: data.images(mine[place]), data.targets[mine])
    values = dict(zip(mine, predict(reward, part, device), strict=True)) if mine else {}
    values = processes.gather(values)
    return np.stack([values[p] for p in range(len(data.prompts))])


def share(prompts: list[int], size: int, processes: Processes) -> list[list[int]]:
    """This process's share of an update: the prompts of each forward pass."""
    return _split(prompts, size)[processes.rank :: processes.count]


def shifted(images: torch.Tensor, most: int, seeds: list[list[int]]) -> torch.Tensor:
    """Each of the images [P·C,3,H,W] moved by up to `most` pixels, down or up and right or left, its border repeated.

    seeds: of each of the P prompts, so that how prompts are batched changes nothing.
    """
    if not most:
        return images
    height, width = images.shape[-2:]
    padded = F.pad(images, (most,) * 4, mode="replicate")
    shape = (len(images) // len(seeds), 2)
    places = np.concatenate([np.random.default_rng(seed).integers(0, 2 * most + 1, shape) for seed in seeds])
    moved = [image[:, y : y + height, x : x + width] for image, (y, x) in zip(padded, places, strict=True)]
    return torch.stack(moved)


def read_ahead(load: Callable, items: list) -> Iterator:
    """load(item) of each item, in order; the next two are read while the device works on this one."""
    with ThreadPoolExecutor(1) as reader:
        coming = deque(reader.submit(load, item) for item in items[:2])
        for following in range(2, len(items) + 2):
            done = coming.popleft().result()
            if following < len(items):
                coming.append(reader.submit(load, items[following]))
            yield done


def _backward(reward, data, settings, prompts, parts, loaded, device) -> torch.Tensor:
    """Add the gradients of this process's parts of an update; returns their share of its loss, [1]."""
    over, kind = settings["standardise"], settings["loss"]
    all_terms = losses.terms(kind, torch.from_numpy(data.targets[prompts]))
    total = torch.zeros(1, device=device)
    for part in parts:
        images, texts = next(loaded)
        target = torch.from_numpy(data.targets[part]).to(device)
        with autocast(device):
            predicted = reward(images, texts).float().view(target.shape)
        if kind == "mse":
            loss = losses.mse(predicted, target, over)
        else:
            loss = losses.preference(predicted, target, over, settings["temperature"])
        loss = loss * (losses.terms(kind, target) / max(1, all_terms))
        loss.backward()
        total += loss.detach()
    return total
