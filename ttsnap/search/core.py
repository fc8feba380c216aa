"""A real search: start many candidates, look at their Tweedie images, drop the weak, finish the rest.

`ttsnap.samplers.run` denoises several prompts in lock-step, so that the survivors of all of them still fill the
micro-batches. Candidates are dropped by the simulator's rule (`survivors`, `ranks`, `best_first`), so given the same
candidates both return the same one.
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from ttsnap.errors import TtsnapError
from ttsnap.pruning.ranks import best_first, ranks
from ttsnap.pruning.schedule import Schedule, survivors
from ttsnap.pruning.units import Units
from ttsnap.samplers import MicroBatches, Sampler, candidate_seed, run, to_bytes
from ttsnap.search.verifiers import Verifier

SIDE = 128  # pixels of a preview's longer side, at most


@dataclass
class Look:
    """What n candidates looked like at one step, and which were kept.

    ids          the n candidates, ascending
    rewards      {reward: float32 [n]}
    noise_aware  {reward: whether noise-aware weights were used}
    rank         int [n], 0 for the best; with several rewards by the sum of their ranks
    kept         the candidates kept, ascending; at the final step the pick alone
    previews     uint8 [n, h, w, 3], the images scaled down
    """

    step: int
    ids: list[int]
    rewards: dict[str, np.ndarray]
    noise_aware: dict[str, bool]
    rank: np.ndarray
    kept: list[int]
    previews: np.ndarray


@dataclass
class SearchResult:
    """The best image of a prompt and how it was found.

    image        uint8 [H, W, 3] of candidate `pick`, whose final base rewards are `rewards`
    units        of each reward in reports
    looks        those of the schedule, and the final one
    evaluations  of the denoiser, one for each candidate and step; `readings`: images looked at
    seconds      {"encode", "denoise", "decode", "reward", "total", "cpu"}; an even share where several prompts were
                 searched at once
    """

    prompt: str
    pick: int = -1
    image: np.ndarray | None = None
    rewards: dict[str, float] = field(default_factory=dict)
    units: dict[str, Units] = field(default_factory=dict)
    looks: list[Look] = field(default_factory=list)
    evaluations: int = 0
    readings: int = 0
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass
class Batches:
    """Micro-batches for the two parts of a search, which need different amounts of memory."""

    denoise: MicroBatches
    look: MicroBatches

    @classmethod
    def uniform(cls, size: int) -> "Batches":
        """`size` for both."""
        return cls(MicroBatches(size), MicroBatches(size))


@torch.inference_mode()
def search_prompts(
    sampler: Sampler,
    verifiers: Sequence[Verifier],
    schedule: Schedule,
    prompts: Sequence[str],
    candidates: Sequence[int],
    *,
    seed: int = 0,
    batches: Batches | None = None,
) -> list[SearchResult]:
    """Search among `candidates` (ids ascending) of each prompt by pruning as in TTSnap (arXiv 2511.22242).

    Look s_j keeps the best max(1, round(n·α_j)) of n candidates; of those that finish, the one with the highest base
    reward is returned. The final look always uses the base reward; the others use noise-aware weights where a verifier
    has them. Images are rounded to 8 bits before they are scored, so that the image saved is the image judged. Raises
    TtsnapError when a reward is not a number.
    """
    batches = batches or Batches.uniform(8)
    clock = Clock(sampler.device)
    pruner = _Pruner(sampler, verifiers, schedule, prompts, list(candidates), batches, clock)
    conditions = [c for prompt in prompts for c in [sampler.encode(prompt)] * len(candidates)]
    clock.lap("encode")
    seeds = [candidate_seed(seed, prompt, c) for prompt in prompts for c in candidates]
    run(sampler, conditions, seeds, pruner, batches.denoise)
    for result in pruner.results:
        result.seconds = {part: total / len(prompts) for part, total in clock.parts().items()}
    return pruner.results


class _Pruner:
    """The `on_step` of a search: looks at the schedule's steps and returns which candidates to keep.

    The id of candidate c of prompt p in the run is p·N + (position of c in `candidates`).
    """

    def __init__(self, sampler, verifiers, schedule, prompts, candidates, batches, clock):
        self.sampler, self.verifiers, self.prompts = sampler, verifiers, prompts
        self.candidates, self.batches, self.clock = candidates, batches, clock
        left = survivors(len(candidates), schedule.keep)
        self.keep = dict(zip(schedule.looks, left, strict=True)) | {sampler.steps - 1: 1}
        units = {verifier.name: verifier.units for verifier in verifiers}
        self.results = [SearchResult(prompt, units=units) for prompt in prompts]

    def __call__(self, step: int, ids: list[int], denoised: torch.Tensor) -> list[int] | None:
        self.clock.lap("denoise")
        owners = np.array(ids) // len(self.candidates)  # the prompt of each row
        for p, result in enumerate(self.results):
            result.evaluations += int((owners == p).sum())
        if step not in self.keep:
            return None
        last = step == self.sampler.steps - 1
        values, images, previews = self._see(None if last else step, [self.prompts[p] for p in owners], denoised)
        kept = []
        for p, result in enumerate(self.results):
            rows = np.flatnonzero(owners == p)
            numbers = [self.candidates[ids[k] % len(self.candidates)] for k in rows]
            look = self._look(step, result.prompt, numbers, values[:, rows], previews[rows])
            result.looks.append(look)
            result.readings += len(rows)
            kept += [int(k) for k, number in zip(rows, numbers, strict=True) if number in look.kept]
            if last:
                result.pick, place = look.kept[0], numbers.index(look.kept[0])
                result.image = images[rows[place]].copy()
                result.rewards = {name: float(scores[place]) for name, scores in look.rewards.items()}
        self.clock.lap("reward")
        return kept

    def _look(self, step: int, prompt: str, ids: list[int], values, previews) -> Look:
        """One prompt's look; `values` float32 [R, n]."""
        for reward, row in np.argwhere(~np.isfinite(values)):
            raise TtsnapError(
                f"{self.verifiers[reward].name} gave {values[reward, row]} for prompt {prompt[:60]!r}, candidate "
                f"{ids[row]}, step {step}; fix the reward"
            )
        order = best_first([ranks(row) for row in values])
        last = step == self.sampler.steps - 1
        return Look(
            step=step,
            ids=ids,
            rewards={v.name: row for v, row in zip(self.verifiers, values, strict=True)},
            noise_aware={v.name: not last and step in v.levels for v in self.verifiers},
            rank=np.argsort(order),
            kept=[ids[row] for row in sorted(order[: self.keep[step]])],
            previews=previews,
        )

    def _see(self, step: int | None, prompts: list[str], denoised: torch.Tensor):
        """Rewards float32 [R, n], images uint8 [n, H, W, 3] (final ones only), previews."""

        def look(part: slice):
            return see(self.sampler, self.verifiers, step, prompts[part], denoised[part], self.clock)

        values, images, previews = zip(*self.batches.look(look, len(denoised)), strict=True)
        images = np.concatenate(images) if step is None else None
        return np.concatenate(values, axis=1), images, np.concatenate(previews)


def see(
    sampler: Sampler,
    verifiers: Sequence[Verifier],
    step: int | None,
    prompts: list[str],
    denoised: torch.Tensor,
    clock: "Clock | None" = None,
):
    """One micro-batch of a look: rewards float32 [R, n], images uint8 [n, H, W, 3] (final ones only), previews."""
    images = to_bytes(sampler.decode(denoised), prompts)
    if clock:
        clock.lap("decode")
    seen = images.float() / 255
    # A copy each, in case a score function works in place.
    values = np.stack([verifier.read(seen.clone(), prompts, step) for verifier in verifiers])
    if clock:
        clock.lap("reward")
    return values, _pixels(images) if step is None else None, _pixels(_small(seen))


def _small(images: torch.Tensor) -> torch.Tensor:
    """Images float [n, 3, H, W] as uint8, shrunk where the longer side is over SIDE pixels."""
    height, width = images.shape[-2:]
    if max(height, width) > SIDE:
        scale = SIDE / max(height, width)
        shape = [max(1, round(side * scale)) for side in (height, width)]
        images = torch.nn.functional.interpolate(images, shape, mode="area")
    return (images * 255).round().to(torch.uint8)


def _pixels(images: torch.Tensor) -> np.ndarray:
    """uint8 [n, 3, H, W] → [n, H, W, 3] in main memory."""
    return images.permute(0, 2, 3, 1).cpu().numpy()


class Clock:
    """Seconds by part; a lap first waits for the device.

    "cpu" is the CPU time of this process, the better measure without a GPU on a shared machine.
    """

    def __init__(self, device: torch.device):
        self.device, self.seconds, self.last = torch.device(device), Counter(), 0.0
        self.cpu = time.process_time()
        self._now()

    def parts(self) -> dict[str, float]:
        """Seconds of each part, of all of them, and of CPU time."""
        return {**self.seconds, "total": sum(self.seconds.values()), "cpu": time.process_time() - self.cpu}

    def lap(self, part: str) -> float:
        """Add the time since the last lap to `part`, and return it."""
        before = self.last
        self.seconds[part] += self._now() - before
        return self.last - before

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.last = time.perf_counter()
        return self.last
