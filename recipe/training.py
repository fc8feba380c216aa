"""The one training loop behind every model of the shapes world."""

import math
import time
from collections.abc import Callable
from pathlib import Path

import torch

from ttsnap.rewards.groups import autocast
from ttsnap.training.run import TrainingRun, run_identity
from ttsnap.training.weights import Average


def cosine(step: int, steps: int, warmup: int = 100) -> float:
    """Factor of the learning rate: linear warm-up, then half a cosine down to 2 %."""
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done))


def train(
    model: torch.nn.Module,
    loss: Callable[[int], torch.Tensor],
    *,
    name: str,
    steps: int,
    lr: float,
    seed: int,
    ema: float = 0.0,
    weight_decay: float = 0.01,
    device: str = "cpu",
    state: Path | None = None,
) -> float:
    """Minimise `loss(step)` over the model's parameters that learn, float32 weights; returns the seconds.

    In bf16 autocast where the hardware multiplies it. `loss` draws from torch's generator, seeded anew for each step,
    so that a killed training, started again with the same `state` file, ends with the same weights. With `ema` > 0
    the model ends with the exponential moving average of its parameters, frozen.
    """
    started = time.monotonic()
    parameters = {key: value for key, value in model.named_parameters() if value.requires_grad}
    optimiser = torch.optim.AdamW(parameters.values(), lr=lr, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: cosine(step, steps))
    average = Average(parameters, ema) if ema else None
    identity = run_identity(parameters, [name, steps, lr, seed, ema, weight_decay])
    run = TrainingRun(name, parameters, optimiser, identity, clip=1.0, schedule=schedule, average=average, state=state)

    def gradients(step: int) -> torch.Tensor:
        torch.manual_seed(seed * 1_000_003 + step)
        with autocast(device):
            value = loss(step)
        value.backward()
        return value.detach()[None]

    model.train()
    for number, _ in run.remaining(range(steps)):
        run.update(gradients, number - 1)
    run.save()
    if average:
        average.write()
        model.requires_grad_(False)
    model.eval()
    return time.monotonic() - started
