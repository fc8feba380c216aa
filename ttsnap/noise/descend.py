"""Descent on an orbit: all targets of a batch at once, but independent of each other."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from ttsnap.errors import TtsnapError
from ttsnap.noise.lbfgs import Evaluate, minimise
from ttsnap.noise.orbits import Orbit


@dataclass
class Optimum:
    """The result of a descent for each row.

    noise [B, …] and state [B, …] at the lowest objective; start, best float [B]; history float [steps+1, B], where a
    finished row keeps its last value; evaluations int [B].
    """

    noise: torch.Tensor
    state: torch.Tensor
    start: torch.Tensor
    best: torch.Tensor
    history: torch.Tensor
    evaluations: torch.Tensor


def descend(
    orbit: Orbit,
    objective: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    *,
    steps: int,
    optimiser: str = "lbfgs",
    lr: float = 5e-2,
    tolerance: float = 0.0,
) -> Optimum:
    """Minimise objective(z, rows) → [n] over the orbit; return the best z of each row, so `best` never exceeds `start`.

    rows [n]: the rows of the orbit that z [n, …] belongs to. A step is one evaluation with its gradient. optimiser:
    "lbfgs" ends a row when its last ten steps brought no more than `tolerance` of its whole gain; "adam" takes all
    steps, at rate lr. Raises TtsnapError if an objective is not finite at the start.
    """

    def evaluate(x: torch.Tensor, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            values = objective(orbit.noise(x, rows), rows)
            (gradient,) = torch.autograd.grad(values.sum(), [x])
        return values.detach(), gradient.nan_to_num()  # one bad row leaves the others alone

    first = orbit.first.detach()
    rows = torch.arange(len(first), device=first.device)
    start = evaluate(first, rows)
    if not torch.isfinite(start[0]).all():
        raise TtsnapError("the objective is not finite at the first noise; check the model")
    if optimiser == "adam":
        x, history, evaluations = adam(evaluate, first, start, lr, steps)
    else:
        x, history, evaluations = minimise(evaluate, first, start, orbit.unit, steps, tolerance)
    with torch.no_grad():
        noise, state = orbit.noise(x, rows), orbit.state(x, rows)
    best = history.nan_to_num(nan=torch.inf).amin(0)
    return Optimum(noise.clone(), state.clone(), history[0], best, history, evaluations)


def adam(
    evaluate: Evaluate, first: torch.Tensor, start: tuple[torch.Tensor, torch.Tensor], lr: float, steps: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Adam at a constant rate; returns (best x [B, …], history [steps+1, B], evaluations int [B])."""
    rows = torch.arange(len(first), device=first.device)
    x, best, (values, gradient) = first.clone(), first.clone(), start
    optimiser, lowest, history = torch.optim.Adam([x], lr=lr), values, [values]
    for _ in range(steps):
        x.grad = gradient
        optimiser.step()
        values, gradient = evaluate(x, rows)
        better = values < lowest
        best[better] = x[better]
        lowest = torch.where(better, values, lowest)
        history.append(values)
    return best, torch.stack(history), torch.full_like(rows, steps + 1)
