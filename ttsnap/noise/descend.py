"""Gradient descent on an orbit, all targets of a batch at once, each as if it were alone."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from ttsnap.errors import TtsnapError


@dataclass
class Found:
    """What was found for each row.

    noise [B, …] and state [B, …] of its lowest objective; start, best float [B]; history float [steps+1, B].
    """

    noise: torch.Tensor
    state: torch.Tensor
    start: torch.Tensor
    best: torch.Tensor
    history: torch.Tensor


def descend(
    orbit,
    objective: Callable[[torch.Tensor], torch.Tensor],
    *,
    steps: int,
    lr: float,
    on_step: Callable[[int, torch.Tensor], object] | None = None,
) -> Found:
    """Minimise objective(z) → [B] over the orbit with Adam, and keep the best z of each row, the first one included.

    So `best` is never above `start`. on_step(step, values) sees the objective of every step. Raises TtsnapError when an
    objective is not finite at the start.
    """
    optimiser = torch.optim.Adam([orbit.parameter], lr=lr)
    history, found = [], None
    for step in range(steps + 1):
        with torch.set_grad_enabled(step < steps):
            z = orbit.noise()
            values = objective(z).float()
        now = values.detach()
        if found is None:
            if not torch.isfinite(now).all():
                raise TtsnapError("the objective is not finite at the first noise; check the model")
            found = Found(z.detach().clone(), orbit.state(), now, now.clone(), now)
        else:
            better = now < found.best
            if better.any():
                found.noise[better] = z.detach()[better]
                found.state[better] = orbit.state()[better]
                found.best[better] = now[better]
        history.append(now)
        if on_step:
            on_step(step, now)
        if step < steps:
            optimiser.zero_grad(set_to_none=True)
            (gradient,) = torch.autograd.grad(values.sum(), [orbit.parameter])
            orbit.parameter.grad = gradient.nan_to_num()  # one bad row leaves the others alone
            optimiser.step()
    found.history = torch.stack(history)
    return found
