"""The one training loop behind every model of the shapes world."""

import math
import time
from collections.abc import Callable
from copy import deepcopy

import torch
from tqdm import tqdm


def cosine(step: int, steps: int, warmup: int = 100) -> float:
    """Learning-rate factor: linear warm-up, then half a cosine down to 2 %."""
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
) -> tuple[torch.nn.Module, float]:
    """Minimise `loss(step)` over the model's parameters in bf16 autocast, fp32 master weights.

    Returns the model to keep (its exponential moving average when `ema` > 0) and the seconds taken.
    """
    started = time.monotonic()
    optimiser = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: cosine(step, steps))
    average = deepcopy(model).requires_grad_(False) if ema else model
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
        if ema:
            decay = min(ema, (step + 1) / (step + 20))
            with torch.no_grad():
                for kept, now in zip(average.parameters(), model.parameters(), strict=True):
                    kept.lerp_(now, 1 - decay)
        if step % 50 == 0:
            progress.set_postfix({"loss": f"{value.item():.4f}", **parts}, refresh=False)
        if report and (step + 1) % max(1, steps // 8) == 0:
            tqdm.write(f"step {step + 1}: {report(step + 1, average)}")
    return average.eval(), time.monotonic() - started
