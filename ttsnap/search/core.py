"""A real search: start many candidates, look at drafts and Tweedie images, drop the weak, finish the rest.

`ttsnap.samplers.run` denoises several prompts in lock-step, so that the survivors of all of them still fill the
micro-batches. Candidates are dropped by the simulator's rule (`survivors`, `ranks`, `best_first`), so given the same
candidates both return the same one.
"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from ttsnap.errors import TtsnapError
from ttsnap.pruning.ranks import best_first, ranks
from ttsnap.pruning.schedule import Look as LookAt
from ttsnap.pruning.schedule import Schedule, look_name, survivors
from ttsnap.pruning.units import Units
from ttsnap.samplers import MicroBatches, Sampler, candidate_seed, run, to_bytes
from ttsnap.samplers.drafts import Drafter
from ttsnap.search.verifiers import Verifier

SIDE = 128  # pixels of a preview's longer side, at most


@dataclass
class Look:
    """What n candidates looked like at one look, and which were kept.

    at           the step, or the name of the draft
    ids          the n candidates, ascending
    rewards      {reward: float32 [n]}
    noise_aware  {reward: whether noise-aware weights were used}
    rank         int [n], 0 for the best; with several rewards by the sum of their ranks
    kept         the candidates kept, ascending; at the final step the pick alone
    previews     uint8 [n, h, w, 3], the images scaled down
    """

    at: LookAt
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
    evaluations  of the denoiser in full runs, one for each candidate and step; `drafts`: how many of each were made;
                 `readings`: images looked at, of which `finals` are final ones
    seconds      {"encode", "draft", "denoise", "decode", "reward", "total", "cpu"}; an even share where several
                 prompts were searched at once
    """

    prompt: str
    pick: int = -1
    image: np.ndarray | None = None
    rewards: dict[str, float] = field(default_factory=dict)
    units: dict[str, Units] = field(default_factory=dict)
    looks: list[Look] = field(default_factory=list)
    evaluations: int = 0
    drafts: dict[str, int] = field(default_factory=dict)
    readings: int = 0
    finals: int = 0
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
    drafters: Mapping[str, Drafter] | None = None,
    seed: int = 0,
    batches: Batches | None = None,
) -> list[SearchResult]:
    """Search among `candidates` (ids ascending) of each prompt by pruning as in TTSnap (arXiv 2511.22242).

    Look j keeps the best max(1, round(n·α_j)) of n candidates; of those that finish, the one with the highest base
    reward is returned. Drafts come first, and only what they leave is denoised. The final look always uses the base
    reward; the others use noise-aware weights where a verifier has them. Images are rounded to 8 bits before they are
    scored, so that the image saved is the image judged. Raises TtsnapError when a reward is not a number.
    """
    batches = batches or Batches.uniform(8)
    clock = Clock(sampler.device)
    pruner = _Pruner(sampler, verifiers, schedule, prompts, list(candidates), batches, clock)
    owners = [prompt for prompt in prompts for _ in candidates]
    seeds = [candidate_seed(seed, prompt, c) for prompt in prompts for c in candidates]
    for name in schedule.drafts:
        left = pruner.left
        latents = drafters[name].latents([owners[k] for k in left], [seeds[k] for k in left], batches.denoise)
        pruner.drafted(name, latents)
    known = {prompt: sampler.encode(prompt) for prompt in prompts}
    clock.lap("encode")
    left = pruner.left
    run(sampler, [known[owners[k]] for k in left], [seeds[k] for k in left], pruner, batches.denoise)
    for result in pruner.results:
        result.seconds = {part: total / len(prompts) for part, total in clock.parts().items()}
    return pruner.results


class _Pruner:
    """Looks at drafts, then, as the `on_step` of the full runs, at the schedule's steps; keeps the best.

    Row p·N + k is candidate `candidates[k]` of prompt p. left: the rows still in the search, ascending.
    """

    def __init__(self, sampler, verifiers, schedule, prompts, candidates, batches, clock):
        self.sampler, self.verifiers, self.prompts = sampler, verifiers, prompts
        self.candidates, self.batches, self.clock = candidates, batches, clock
        left = survivors(len(candidates), schedule.keep)
        self.last = sampler.steps - 1
        self.keep = dict(zip(schedule.looks, left, strict=True)) | {self.last: 1}
        self.left = list(range(len(prompts) * len(candidates)))
        self.started = self.left  # the rows that full runs begin with
        units = {verifier.name: verifier.units for verifier in verifiers}
        self.results = [SearchResult(prompt, units=units) for prompt in prompts]

    def drafted(self, name: str, latents: torch.Tensor) -> None:
        """Look at a draft of the rows left."""
        self.clock.lap("draft")
        for result, rows in self._rows():
            result.drafts[name] = len(rows)
        self._prune(name, latents)
        self.started = self.left

    def __call__(self, step: int, ids: list[int], denoised: torch.Tensor) -> list[int] | None:
        self.clock.lap("denoise")
        self.left = [self.started[k] for k in ids]
        for result, rows in self._rows():
            result.evaluations += len(rows)
        return self._prune(step, denoised) if step in self.keep else None

    def _rows(self) -> list[tuple[SearchResult, np.ndarray]]:
        """Each prompt's result, and the places of its candidates among the rows left."""
        owners = np.array(self.left) // len(self.candidates)
        return [(result, np.flatnonzero(owners == p)) for p, result in enumerate(self.results)]

    def _prune(self, at: LookAt, latents: torch.Tensor) -> list[int]:
        """Look at the rows left, one by one of `latents`; keep the best of each prompt; the places kept."""
        last = at == self.last
        prompts = [self.prompts[row // len(self.candidates)] for row in self.left]
        values, images, previews = self._see(None if last else at, prompts, latents)
        kept = []
        for result, rows in self._rows():
            numbers = [self.candidates[self.left[k] % len(self.candidates)] for k in rows]
            look = self._look(at, result.prompt, numbers, values[:, rows], previews[rows])
            result.looks.append(look)
            result.readings += len(rows)
            kept += [int(k) for k, number in zip(rows, numbers, strict=True) if number in look.kept]
            if last:
                result.finals = len(rows)
                result.pick, place = look.kept[0], numbers.index(look.kept[0])
                result.image = images[rows[place]].copy()
                result.rewards = {name: float(scores[place]) for name, scores in look.rewards.items()}
        self.clock.lap("reward")
        self.left = [self.left[k] for k in kept]
        return kept

    def _look(self, at: LookAt, prompt: str, ids: list[int], values, previews) -> Look:
        """One prompt's look; `values` float32 [R, n]."""
        for reward, row in np.argwhere(~np.isfinite(values)):
            raise TtsnapError(
                f"{self.verifiers[reward].name} gave {values[reward, row]} for prompt {prompt[:60]!r}, candidate "
                f"{ids[row]}, {look_name(at)}; fix the reward"
            )
        order = best_first([ranks(row) for row in values])
        return Look(
            at=at,
            ids=ids,
            rewards={v.name: row for v, row in zip(self.verifiers, values, strict=True)},
            noise_aware={v.name: at != self.last and at in v.levels for v in self.verifiers},
            rank=np.argsort(order),
            kept=[ids[row] for row in sorted(order[: self.keep[at]])],
            previews=previews,
        )

    def _see(self, at: LookAt | None, prompts: list[str], latents: torch.Tensor):
        """Rewards float32 [R, n], images uint8 [n, H, W, 3] (final ones only), previews."""

        def look(part: slice):
            return see(self.sampler, self.verifiers, at, prompts[part], latents[part], self.clock)

        values, images, previews = zip(*self.batches.look(look, len(latents)), strict=True)
        images = np.concatenate(images) if at is None else None
        return np.concatenate(values, axis=1), images, np.concatenate(previews)


def see(
    sampler: Sampler,
    verifiers: Sequence[Verifier],
    at: LookAt | None,
    prompts: list[str],
    latents: torch.Tensor,
    clock: "Clock | None" = None,
):
    """One micro-batch of a look: rewards float32 [R, n], images uint8 [n, H, W, 3] (final ones only), previews.

    at: a step, or the name of a draft; None: final images, which the VAE decodes.
    """
    where = look_name(at) if isinstance(at, str) else ""
    images = to_bytes((sampler.decode if at is None else sampler.look)(latents), prompts, where)
    if clock:
        clock.lap("decode")
    seen = images.float() / 255
    # A copy each, in case a score function works in place.
    values = np.stack([verifier.read(seen.clone(), prompts, at) for verifier in verifiers])
    if clock:
        clock.lap("reward")
    return values, _pixels(images) if at is None else None, _pixels(_small(seen))


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
