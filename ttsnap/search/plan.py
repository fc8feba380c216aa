"""How many candidates a budget pays for, in TFLOP, in seconds or in candidates of best-of-N (DESIGN §3 Cost)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ttsnap.cost import sampler_cost
from ttsnap.errors import BadInput
from ttsnap.samplers import MicroBatches, Sampler, candidate_seed
from ttsnap.samplers.batches import rows_in_memory
from ttsnap.search.core import Batches, Clock
from ttsnap.search.verifiers import Verifier
from ttsnap.simulate.costs import UNITS, Costs, Schedule, survivors

CPU_BATCH = 8


@dataclass(frozen=True)
class Plan:
    """A schedule and the number of candidates that it starts for each prompt.

    best_of_n the number that best-of-N could start: where a schedule starts no more, dropping some can only lose
    budget    what was asked for, in `unit`
    costs     TFLOP of one evaluation and one look; decode and the rewards are the look's parts
    measured  seconds: what was measured to convert the budget; None in the other units
    """

    schedule: Schedule
    candidates: int
    best_of_n: int
    budget: float
    unit: str
    costs: Costs
    decode: float
    measured: dict | None = None

    def spent(self, evaluations: int, readings: int) -> dict[str, float]:
        """TFLOP by part, of what was really done."""
        parts = {
            "denoise": evaluations * self.costs.denoise,
            "decode": readings * self.decode,
            "reward": readings * (self.costs.look - self.decode),
        }
        total, limit = sum(parts.values()), self.limit()
        if limit is not None and limit < total < limit * (1 + 1e-12):
            total = limit  # the same number, added up in another order
        return {**parts, "total": total}

    def limit(self) -> float | None:
        """The budget in TFLOP, which is never exceeded; None when it was given in seconds."""
        if self.unit == "seconds":
            return None
        return self.budget * (self.costs.best_of_n() if self.unit == "candidates" else 1.0)


def make_plan(
    sampler: Sampler,
    verifiers: Sequence[Verifier],
    schedule: Schedule,
    budget: float,
    unit: str = "tflop",
    batches: Batches | None = None,
    measured: dict | None = None,
) -> Plan:
    """Count the costs of the model in use and the candidates that `budget` pays for, with `realised`
    accounting: rounding to whole survivors never overspends.

    Text encoding is no part of DESIGN §3's costs, and left out; in seconds it is measured and taken
    off first. `measured`: what an earlier `measure` gave, to get its number of candidates again.
    Raises BadInput for a schedule that does not suit the sampler, or a budget too small for one
    candidate.
    """
    schedule.check(sampler.steps)
    if unit not in UNITS:
        raise BadInput(f"budget unit: {unit!r} is not one of {', '.join(UNITS)}")
    if not verifiers:
        raise BadInput("rewards: a search needs one or more")
    if not (np.isfinite(budget) and budget > 0):
        raise BadInput(f"budget: {budget} is not a positive number")
    cost = sampler_cost(sampler)
    look = cost["decode"] + sum(verifier.tflop for verifier in verifiers)
    costs = Costs(cost["denoise"], look, sampler.steps, "realised")
    if unit == "seconds":
        measured = measured or measure(sampler, verifiers, batches or Batches.of(CPU_BATCH))
        charged = Costs(measured["denoise"], measured["look"], sampler.steps, "realised")
        left = budget - measured["encode"]
    else:
        measured, charged = None, costs
        left = np.nextafter(budget * costs.best_of_n(), np.inf) if unit == "candidates" else budget
    candidates = int(charged.within(left, schedule)) if left > 0 else 0
    if candidates < 1:
        one = float(charged.spent(1, schedule)) + (measured or {}).get("encode", 0.0)
        if unit == "candidates":
            one /= costs.best_of_n()
        raise BadInput(
            f"budget: {budget:g} {unit} per prompt is under the {one:.4g} {unit} that one finished "
            "candidate costs; raise the budget"
        )
    best_of_n = int(charged.within(left))
    return Plan(schedule, candidates, best_of_n, budget, unit, costs, cost["decode"], measured)


def prompts_at_once(plan: Plan, batches: Batches) -> int:
    """How many prompts to search in lock-step, so that what finishes of each fills a micro-batch.

    At most 32, and no more than 512 candidates, whose latents are all held.
    """
    finishing = [plan.candidates, *survivors(plan.candidates, plan.schedule.keep)][-1]
    wanted = round(batches.denoise.size / finishing)
    return max(1, min(wanted, 32, 512 // plan.candidates))


@torch.inference_mode()
def measure(sampler: Sampler, verifiers: Sequence[Verifier], batches: Batches) -> dict:
    """Seconds per candidate of an evaluation and of a look, and of encoding a prompt.

    {"encode", "denoise", "look", "at_once"}: the second of two goes with `at_once` candidates in a
    micro-batch, so that what only the first call does is not counted.
    """
    clock, prompt = Clock(sampler.device), "a photo"
    at_once = max(1, min(batches.denoise.size, batches.look.size))
    for _ in range(2):
        clock.seconds.clear()
        clock.lap("start")
        condition = sampler.encode(prompt)
        clock.lap("encode")
        latents = sampler.init([candidate_seed(0, prompt, n) for n in range(at_once)])
        clock.lap("start")
        _, denoised = sampler.step(0, latents, condition)
        clock.lap("denoise")
        read_all(sampler, verifiers, denoised, prompt)
        clock.lap("look")
    each = {part: clock.seconds[part] / at_once for part in ("denoise", "look")}
    return {"encode": clock.seconds["encode"], **each, "at_once": at_once}


def read_all(sampler, verifiers, denoised: torch.Tensor, prompt: str) -> None:
    """One look whose values nobody wants."""
    images = sampler.decode(denoised)
    for verifier in verifiers:
        verifier.read(images, [prompt] * len(images), None)


@torch.inference_mode()
def pick_batches(sampler: Sampler, verifiers: Sequence[Verifier], size: int = 0) -> Batches:
    """Micro-batches of `size`; 0: what free memory takes on CUDA, and 8 elsewhere.

    Both kinds halve when memory runs out all the same.
    """
    if size or sampler.device.type != "cuda":
        return Batches.of(size or CPU_BATCH)
    condition, latents = sampler.encode("a photo"), sampler.init([0])

    def step(rows: int):
        return sampler.step(0, latents.repeat_interleave(rows, 0), condition)

    def look(rows: int):
        read_all(sampler, verifiers, latents.repeat_interleave(rows, 0), "a photo")

    sizes = [rows_in_memory(function, sampler.device) for function in (step, look)]
    return Batches(*map(MicroBatches, sizes))
