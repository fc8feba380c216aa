"""How many seconds a search takes: measured on this model, predicted for any number of candidates.

The time of a call on n candidates grows with n, but not in proportion: with few, most of it is overhead. So calls are
timed at several sizes, and a search is predicted call by call, with the survivors, micro-batches and lock-step prompts
that it will have.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ttsnap.pruning.schedule import Schedule, survivors
from ttsnap.pruning.seeds import MOST_CANDIDATES
from ttsnap.samplers import Sampler, candidate_seed
from ttsnap.samplers.drafts import Drafter
from ttsnap.search.core import Batches, Clock, see
from ttsnap.search.verifiers import Verifier

MARGIN = 0.1  # of a budget, reserved for variation from call to call
REPEATS = 2  # the slower one counts
PROMPT = "a photo"


def at_once(candidates: int, schedule: Schedule, batches: Batches) -> int:
    """How many prompts to search in lock-step, so that the candidates that finish fill a micro-batch.

    At most 32, and no more than 512 candidates in all, since all their latents are in memory.
    """
    finishing = [candidates, *survivors(candidates, schedule.keep)][-1]
    return max(1, min(round(batches.denoise.size / finishing), 32, 512 // candidates))


@dataclass(frozen=True)
class Seconds:
    """Predicts from `measured` (see `measure`) how long a search of `prompts` prompts takes."""

    measured: dict
    steps: int
    batches: Batches
    prompts: int = 1

    def per_prompt(self, candidates: int, schedule: Schedule) -> float:
        """Seconds per prompt, in the slowest group of prompts."""
        size = min(self.prompts, at_once(candidates, schedule, self.batches))
        sizes = {size, self.prompts % size or size}
        return max(self._group(size, candidates, schedule) / size for size in sizes)

    def within(self, budget: float, schedule: Schedule) -> int:
        """The most candidates, up to MOST_CANDIDATES + 1, that take no longer than the budget less its margin."""
        allowed, found = budget * (1 - MARGIN), 0
        if self.per_prompt(MOST_CANDIDATES + 1, schedule) <= allowed:
            return MOST_CANDIDATES + 1
        for candidates in range(1, MOST_CANDIDATES + 2):
            seconds = self.per_prompt(candidates, schedule)
            if seconds <= allowed:
                found = candidates
            elif seconds > 2 * allowed:  # more than a fuller micro-batch can make up for
                break
        return found

    def _group(self, prompts: int, candidates: int, schedule: Schedule) -> float:
        alive = [candidates, *survivors(candidates, schedule.keep)]
        steps = np.diff([-1, *schedule.steps, self.steps - 1])
        stretches = [*((f"draft {name}", 1) for name in schedule.drafts), *(("denoise", count) for count in steps)]
        encodings = 1 + len(schedule.drafts)  # a draft encodes the prompts itself
        total = prompts * (encodings * self.measured["encode"] + candidates * self.measured["start"])
        for place, (count, (part, times)) in enumerate(zip(alive, stretches, strict=True)):
            rows, look = prompts * count, "final" if place == len(schedule.looks) else "look"
            total += times * self._calls(part, rows, self.batches.denoise.size)
            total += self._calls(look, rows, self.batches.look.size) + self.measured["change"]
        return float(total)

    def _calls(self, part: str, rows: int, size: int) -> float:
        """Seconds of a part on `rows` rows, in micro-batches of `size`."""
        times = self.measured[part]
        known = sorted(map(int, times))

        def call(n: int) -> float:
            return float(np.interp(n, known, [times[str(k)] for k in known]))

        full, rest = divmod(rows, size)
        return full * call(size) + (call(rest) if rest else 0.0)


@torch.inference_mode()
def measure(
    sampler: Sampler,
    verifiers: Sequence[Verifier],
    schedule: Schedule,
    batches: Batches,
    drafters: Mapping[str, Drafter] | None = None,
) -> dict:
    """Seconds, the slowest of REPEATS rounds after a warm-up.

    {"encode": of a prompt, "start": of a candidate's noise, "denoise", "look", "final" and "draft NAME" (without the
    encoding): {candidates in a call: seconds}, "change": of the weights, between two looks}
    """
    in_calls = {"denoise": "denoise", "look": "look", "final": "look"}
    in_calls |= {f"draft {name}": "denoise" for name in schedule.drafts}
    found: dict = {part: {} for part in in_calls}
    most = max(batches.denoise.size, batches.look.size)
    for size in sorted({1, -(-most // 2), most}, reverse=True):
        clock = Clock(sampler.device)
        read_size(sampler, verifiers, schedule, batches, size, clock, drafters)  # warm-up
        rounds = [read_size(sampler, verifiers, schedule, batches, size, clock, drafters) for _ in range(REPEATS)]
        slowest = {part: max(seconds[part] for seconds in rounds) for part in rounds[0]}
        for part, batch in in_calls.items():
            found[part][str(min(size, getattr(batches, batch).size))] = slowest[part]
        found["start"] = slowest["start"] / size
        found["encode"], found["change"] = slowest["encode"], slowest["change"]
    return found


@torch.inference_mode()
def read_size(
    sampler: Sampler,
    verifiers: Sequence[Verifier],
    schedule: Schedule,
    batches: Batches,
    size: int,
    clock: Clock,
    drafters: Mapping[str, Drafter] | None = None,
) -> dict[str, float]:
    """Run the parts of a search once, on `size` candidates or as many as a micro-batch takes; return their seconds."""
    clock.lap("start")
    condition = sampler.encode(PROMPT)
    seconds = {"encode": clock.lap("encode")}
    rows = min(size, batches.denoise.size)
    seeds = [candidate_seed(0, PROMPT, n) for n in range(rows)]
    latents = sampler.init(seeds)
    seconds["start"] = clock.lap("start") * size / rows
    for name in schedule.drafts:
        drafters[name].latents([PROMPT] * rows, seeds, batches.denoise)
        seconds[f"draft {name}"] = max(0.0, clock.lap("draft") - seconds["encode"])  # of which it did one
    _, denoised = sampler.step(0, latents, sampler.join([condition] * rows))
    seconds["denoise"] = clock.lap("denoise")
    rows = min(size, batches.look.size)
    denoised = denoised[torch.arange(rows) % len(denoised)]
    first, again = [], []
    noise_aware = [look for look in schedule.looks if any(look in v.levels for v in verifiers)]
    for at in (*(noise_aware or schedule.looks)[:1], None):  # all levels of a reward take the same time
        for times in (first, again):
            clock.lap("start")
            see(sampler, verifiers, at, [PROMPT] * rows, denoised)
            times.append(clock.lap("look"))
    seconds["look"], seconds["final"] = again[0], again[-1]
    seconds["change"] = max(0.0, *(a - b for a, b in zip(first, again, strict=True)))
    return seconds
