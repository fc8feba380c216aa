"""The one training loop behind every model of the shapes world."""

import math
import time
from collections.abc import Callable
from contextlib import nullcontext

import torch
from tqdm import tqdm

from ttsnap.training.weights import Average


def cosine(step: int, steps: int, warmup: int = 100) -> float:
    """Factor of the learning rate: linear warm-up, then half a cosine down to 2 %."""
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done))


def train(
    model: torch.nn.Module,
    loss: Callable[[int], tuple[torch.Tensor, dict[str, float]]],
    *,
    steps: int,
    lr: float,
    ema: float = 0.0,
    weight_decay: float = 0.01,
    device: str = "cpu",
    report: Callable[[int, torch.nn.Module], str] | None = None,
) -> float:
    """Minimise `loss(step)` over the model's parameters in bf16 autocast, fp32 master weights; returns the seconds.

    With `ema` > 0 the model ends with the exponential moving average of its parameters, frozen.
    """
    started = time.monotonic()
    optimiser = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: cosine(step, steps))
    average = Average(dict(model.named_parameters()), ema, warm_up=19) if ema else None
    progress = tqdm(range(steps), desc="train", mininterval=10)
    for step in progress:
        model.train()
        with torch.autocast(torch.device(device).type, torch.bfloat16):
            value, parts = loss(step)
        optimiser.zero_grad(set_to_none=True)
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if average:
            average.update()
        if step % 50 == 0:
            progress.set_postfix({"loss": f"{value.item():.4f}", **parts}, refresh=False)
        if report and (step + 1) % max(1, steps // 8) == 0:
            with average.in_place() if average else nullcontext():
                tqdm.write(f"step {step + 1}: {report(step + 1, model)}")
    if average:
        average.write()
        model.requires_grad_(False)
    model.eval()
    return time.monotonic() - started
