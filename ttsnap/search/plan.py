"""How many candidates a budget pays for, in TFLOP, in seconds or in candidates of best-of-N."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ttsnap.errors import BadInput
from ttsnap.pruning.budget import BUDGET_UNITS, in_tflop
from ttsnap.pruning.costs import Costs
from ttsnap.pruning.schedule import Schedule, survivors
from ttsnap.pruning.seeds import MOST_CANDIDATES
from ttsnap.samplers import MicroBatches, Sampler
from ttsnap.samplers.batches import rows_in_memory
from ttsnap.samplers.cost import sampler_cost
from ttsnap.samplers.drafts import Drafter
from ttsnap.search.core import Batches, Clock
from ttsnap.search.seconds import MARGIN, PROMPT, Seconds, at_once, measure, read_size
from ttsnap.search.verifiers import Verifier

CPU_BATCH = 8


@dataclass(frozen=True)
class SearchPlan:
    """A schedule and the number of candidates that it starts for each prompt.

    best_of_n how many best-of-N could start: where a schedule starts no more, pruning can only lose
    budget    in `unit`
    costs     TFLOP of one evaluation and of one look, which consists of a decode and the rewards; of a draft
    decode    TFLOP of decoding one final image; `look_decode`: one look
    measured  the times that converted a budget in seconds; None for the other units
    """

    schedule: Schedule
    candidates: int
    best_of_n: int
    budget: float
    unit: str
    costs: Costs
    decode: float
    look_decode: float
    measured: dict | None = None

    def spent(
        self, evaluations: int, readings: int, finals: int = 0, drafts: Mapping[str, int] | None = None
    ) -> dict[str, float]:
        """TFLOP by part, for these evaluations and drafts, and images read, of which `finals` are final ones."""
        made = {name: count * self.costs.drafts[name] for name, count in (drafts or {}).items()}
        parts = {
            "denoise": evaluations * self.costs.denoise,
            **({"draft": sum(made.values())} if made else {}),
            "decode": (readings - finals) * self.look_decode + finals * self.decode,
            "reward": readings * (self.costs.look - self.look_decode),
        }
        total, limit = sum(parts.values()), self.limit()
        if limit is not None and limit < total < limit * (1 + 1e-12):
            total = limit  # the same number, summed in another order
        return {**parts, "total": total}

    @property
    def finishing(self) -> int:
        """How many candidates are denoised to the end."""
        return [self.candidates, *survivors(self.candidates, self.schedule.keep)][-1]

    @property
    def spends(self) -> float:
        """TFLOP per prompt."""
        return float(self.costs.spent(self.candidates, self.schedule))

    def limit(self) -> float | None:
        """The budget in TFLOP, which is never exceeded; None for a budget in seconds."""
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
    prompts: int = 1,
    drafters: Mapping[str, Drafter] | None = None,
) -> SearchPlan:
    """Count the costs of this model, and the candidates that `budget` pays for.

    Accounting is `whole`: survivors are whole numbers, so a budget is never exceeded.
    TFLOP leave out the encoding of the text; seconds include everything from the text to the pick.
    measured: times and numbers of candidates of an earlier plan, to be kept. prompts: how many there will be, of which
    some are searched at once. drafters: of the schedule's drafts. Raises BadInput for a schedule that does not suit the
    sampler and the drafts, or a budget that pays for less than one candidate or for more than MOST_CANDIDATES.
    """
    drafters = drafters or {}
    schedule.check(sampler.steps, drafts=drafters)
    check_budget(budget, unit)
    if not verifiers:
        raise BadInput("rewards: a search needs one or more")
    cost = sampler_cost(sampler)
    look_decode, reading = cost.get("look_decode", cost["decode"]), sum(verifier.tflop for verifier in verifiers)
    costs = Costs(
        cost["denoise"],
        look_decode + reading,
        sampler.steps,
        "whole",
        cost["decode"] + reading,
        {name: drafters[name].tflop for name in schedule.drafts},
    )
    if unit == "seconds":
        batches = batches or Batches.uniform(CPU_BATCH)
        if measured is None:
            measured = measure(sampler, verifiers, schedule, batches, drafters)
            seconds = Seconds(measured, sampler.steps, batches, prompts)
            measured["candidates"] = seconds.within(budget, schedule)
            measured["best_of_n"] = seconds.within(budget, Schedule())
        else:  # warm up, so that the first prompts do not take longer than measured
            read_size(sampler, verifiers, schedule, batches, 1, Clock(sampler.device), drafters)
        candidates, best_of_n = measured["candidates"], measured["best_of_n"]
        least = Seconds(measured, sampler.steps, batches).per_prompt(1, schedule) / (1 - MARGIN)
    else:
        # Capped while it is a float: as a whole number it could overflow.
        most = 2.0 * MOST_CANDIDATES * max(costs.schedule(schedule), costs.best_of_n())
        allowed = min(in_tflop(budget, unit, costs), most)
        candidates, best_of_n = int(costs.within(allowed, schedule)), int(costs.within(allowed))
        least = float(costs.spent(1, schedule)) / (costs.best_of_n() if unit == "candidates" else 1)
    if candidates < 1:
        raise BadInput(
            f"budget: {budget:g} {unit} per prompt is under the {least:.4g} {unit} that one finished "
            "candidate costs; raise the budget"
        )
    if candidates > MOST_CANDIDATES:
        raise BadInput(
            f"budget: {budget:g} {unit} per prompt starts more than {MOST_CANDIDATES} candidates; lower the budget"
        )
    return SearchPlan(schedule, candidates, best_of_n, budget, unit, costs, cost["decode"], look_decode, measured)


def check_budget(budget: float, unit: str) -> None:
    """Raise BadInput for a budget that is not a positive number, or of more candidates than can be started."""
    if unit not in BUDGET_UNITS:
        raise BadInput(f"budget unit: {unit!r} is not one of {', '.join(BUDGET_UNITS)}")
    if not (np.isfinite(budget) and budget > 0):
        raise BadInput(f"budget: {budget} is not a positive number")
    if unit == "candidates" and budget > MOST_CANDIDATES:
        raise BadInput(f"budget: {budget:g} candidates per prompt; give {MOST_CANDIDATES} or fewer")


def prompts_at_once(plan: SearchPlan, batches: Batches) -> int:
    """How many prompts to search in lock-step; see `at_once`."""
    return at_once(plan.candidates, plan.schedule, batches)


@torch.inference_mode()
def pick_batches(sampler: Sampler, verifiers: Sequence[Verifier], size: int = 0) -> Batches:
    """Micro-batches of `size`; 0: as many as fit in free memory on CUDA, 8 elsewhere. Halved if memory runs out."""
    if size or sampler.device.type != "cuda":
        return Batches.uniform(size or CPU_BATCH)
    condition, latents = sampler.encode(PROMPT), sampler.init([0])

    def step(rows: int):
        return sampler.step(0, latents.repeat_interleave(rows, 0), condition)

    def look(rows: int):
        images = sampler.decode(latents.repeat_interleave(rows, 0))
        for verifier in verifiers:
            verifier.read(images, [PROMPT] * rows, None)

    return Batches(*(MicroBatches(rows_in_memory(function, sampler.device)) for function in (step, look)))
