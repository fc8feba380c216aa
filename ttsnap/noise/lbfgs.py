"""L-BFGS (Nocedal, Math. Comp. 1980) for many problems at once, each with its own curvature, step length and end.

Each step evaluates all rows that still gain; a row whose step was too long tries a shorter one next time, while the
others go on.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch

Evaluate = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
MEMORY, PATIENCE, ARMIJO = 20, 10, 1e-4
FIRST_STEP, LONGEST_STEP = 0.2, 1.0  # in units


def minimise(
    evaluate: Evaluate,
    first: torch.Tensor,
    start: tuple[torch.Tensor, torch.Tensor],
    unit: torch.Tensor,
    steps: int,
    tolerance: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Minimise from first [B, …]; returns the best x [B, …], history [steps+1, B], evaluations int [B].

    evaluate(x [n, …], rows [n]) → (values [n], gradients [n, …]); start: its result at `first`; unit [B]: the length of
    a long step in each row. A row ends when its last ten steps brought no more than `tolerance` of its whole gain. The
    history never rises.
    """
    values, gradient = start
    rows = torch.arange(len(first), device=first.device)
    history = values.new_full((steps + 1, len(first)), torch.inf)
    history[0], evaluations = values, torch.ones_like(rows)
    at = _begin(rows, first.flatten(1), values, gradient.flatten(1), unit)
    best = at.x.clone()
    for step in range(1, steps + 1):
        x = at.x + at.length[:, None] * at.direction
        values, gradient = evaluate(x.view(-1, *first.shape[1:]), at.rows)
        at.learn(x, values, gradient.flatten(1))
        best[at.rows], history[step, at.rows] = at.x, at.value
        evaluations[at.rows] += 1
        if step >= PATIENCE:
            recent = history[step - PATIENCE, at.rows] - at.value
            going = recent > tolerance * (history[0, at.rows] - at.value)
            if not going.any():
                break
            if not going.all():
                at = at.only(going)
    return best.view_as(first), history.cummin(0).values, evaluations


@dataclass
class _Rows:
    """The state of n rows: n is the first dimension of every tensor."""

    rows: torch.Tensor
    x: torch.Tensor
    value: torch.Tensor
    gradient: torch.Tensor
    unit: torch.Tensor
    scale: torch.Tensor  # of the inverse Hessian before the memory is applied
    direction: torch.Tensor
    length: torch.Tensor
    moves: torch.Tensor  # [n, MEMORY, D] changes of x, the latest last
    bends: torch.Tensor  # and of the gradient
    weights: torch.Tensor  # [n, MEMORY] 1 / (move · bend); 0 where nothing is remembered

    def only(self, keep: torch.Tensor) -> "_Rows":
        """Some of the rows."""
        return _Rows(*(getattr(self, field.name)[keep] for field in fields(self)))

    def learn(self, x: torch.Tensor, value: torch.Tensor, gradient: torch.Tensor) -> None:
        """Use the value and gradient at x = self.x + length·direction: move there, or shorten the step."""
        slope = (self.gradient * self.direction).sum(1)
        enough = value <= self.value + ARMIJO * self.length * slope
        move, bend = x - self.x, gradient - self.gradient
        product = (move * bend).sum(1)
        curved = enough & (product > 1e-10 * move.norm(dim=1) * bend.norm(dim=1))
        weight = torch.where(curved, 1 / product, 0.0)
        for kept, new in ((self.moves, move), (self.bends, bend), (self.weights, weight)):
            kept.copy_(torch.cat([kept[:, 1:], new[:, None]], 1))
        self.scale = torch.where(curved, product / bend.square().sum(1), self.scale)

        # The lowest point of the parabola through both values and the slope
        drop = 2 * (value - self.value - self.length * slope)
        shorter = (-slope * self.length**2 / drop).nan_to_num(0.0)
        shorter = torch.minimum(torch.maximum(shorter, 0.1 * self.length), 0.5 * self.length)
        self.length = torch.where(enough, 1.0, shorter)
        moved = enough[:, None]
        self.x = torch.where(moved, x, self.x)
        self.value = torch.where(enough, value, self.value)
        self.gradient = torch.where(moved, gradient, self.gradient)
        self.direction = torch.where(moved, self._downhill(), self.direction)

    def _downhill(self) -> torch.Tensor:
        """−(inverse Hessian)·gradient by the two-loop recursion, at most LONGEST_STEP units long."""
        d, factors = self.gradient.clone(), {}
        for k in reversed(range(MEMORY)):
            factors[k] = self.weights[:, k] * (self.moves[:, k] * d).sum(1)
            d.addcmul_(self.bends[:, k], factors[k][:, None], value=-1)
        d.mul_(self.scale[:, None])
        for k in range(MEMORY):
            back = factors[k] - self.weights[:, k] * (self.bends[:, k] * d).sum(1)
            d.addcmul_(self.moves[:, k], back[:, None])
        uphill = (d * self.gradient).sum(1) <= 0
        d = torch.where(uphill[:, None], self.gradient * self.scale[:, None], d)
        longest = LONGEST_STEP * self.unit / d.norm(dim=1).clamp_min(1e-30)
        return -d * longest.clamp_max(1)[:, None]


def _begin(rows, x, value, gradient, unit) -> _Rows:
    """Rows at their first x, with steepest descent as the first direction."""
    scale = FIRST_STEP * unit / gradient.norm(dim=1).clamp_min(1e-30)
    memory = x.new_zeros(len(x), MEMORY, x.shape[1])
    return _Rows(
        rows, x, value, gradient, unit, scale, -gradient * scale[:, None], torch.ones_like(scale),
        memory, memory.clone(), memory[:, :, 0].clone(),
    )  # fmt: skip
