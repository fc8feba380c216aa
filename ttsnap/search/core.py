"""TTSnap for real: start many candidates, look at their Tweedie images, drop the weak, finish the rest.

One prompt at a time on the loop of `ttsnap.samplers.run`. The rule of dropping is the simulator's
(`survivors`, `ranks`, `best_first`), so that on the same candidates both hand over the same one.
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from ttsnap.errors import TtsnapError
from ttsnap.samplers import MicroBatches, Sampler, candidate_seed, run
from ttsnap.search.verifiers import Verifier
from ttsnap.simulate.costs import Schedule, survivors
from ttsnap.simulate.methods import best_first, ranks

SIDE = 128  # pixels of a preview's longer side, at most


@dataclass
class Look:
    """What was seen of n candidates at one step, and who went on.

    ids          the n candidates, ascending
    rewards      {reward: float32 [n]}
    noise_aware  {reward: whether noise-aware weights read them}
    rank         int [n], 0 for the best; of several rewards by the sum of their ranks
    kept         the candidates that went on, ascending; at the final step the pick alone
    previews     uint8 [n, h, w, 3], the images seen, made small
    """

    step: int
    ids: list[int]
    rewards: dict[str, np.ndarray]
    noise_aware: dict[str, bool]
    rank: np.ndarray
    kept: list[int]
    previews: np.ndarray


@dataclass
class Found:
    """The best image of a prompt and how it was found.

    image        uint8 [H, W, 3] of candidate `pick`, whose final base rewards are `rewards`
    looks        one for each step of the schedule, and the final one
    evaluations  of the denoiser, one for each candidate and step; `readings`: images looked at
    seconds      {"encode", "denoise", "decode", "reward"}, as measured
    """

    prompt: str
    pick: int
    image: np.ndarray
    rewards: dict[str, float]
    looks: list[Look]
    evaluations: int
    readings: int
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass
class Batches:
    """Micro-batches of the two parts, which need memory of their own."""

    denoise: MicroBatches
    look: MicroBatches

    @classmethod
    def of(cls, size: int) -> "Batches":
        return cls(MicroBatches(size), MicroBatches(size))


@torch.inference_mode()
def search_prompt(
    sampler: Sampler,
    verifiers: Sequence[Verifier],
    schedule: Schedule,
    prompt: str,
    candidates: Sequence[int],
    *,
    seed: int = 0,
    batches: Batches | None = None,
) -> Found:
    """Search among `candidates` (ids ascending) of one prompt by DESIGN §3 Pruning.

    At s_j the max(1, round(n·α_j)) best of n go on; of those that finish the one with the highest
    base reward is handed over. The final look is base in any case; the others are noise-aware where
    a verifier has such weights. Images are rounded to 8 bits before they are read: what is judged
    is what is saved. Raises TtsnapError when a verifier gives no number.
    """
    batches = batches or Batches.of(8)
    clock = Clock(sampler.device)
    judge = _Judge(sampler, verifiers, schedule, prompt, list(candidates), batches, clock)
    condition = sampler.encode(prompt)
    clock.lap("encode")
    seeds = [candidate_seed(seed, prompt, candidate) for candidate in candidates]
    run(sampler, condition, seeds, judge, batches.denoise)
    final = judge.looks[-1]
    place = final.ids.index(final.kept[0])
    return Found(
        prompt=prompt,
        pick=final.kept[0],
        image=judge.images[place],
        rewards={name: float(values[place]) for name, values in final.rewards.items()},
        looks=judge.looks,
        evaluations=judge.evaluations,
        readings=sum(len(look.ids) for look in judge.looks),
        seconds=dict(clock.seconds),
    )


class _Judge:
    """The `on_step` of a search: looks when it is time to, and says who goes on."""

    def __init__(self, sampler, verifiers, schedule, prompt, candidates, batches, clock):
        self.sampler, self.verifiers, self.prompt = sampler, verifiers, prompt
        self.candidates, self.batches, self.clock = candidates, batches, clock
        left = survivors(len(candidates), schedule.keep)
        self.keep = dict(zip(schedule.steps, left, strict=True)) | {sampler.steps - 1: 1}
        self.looks: list[Look] = []
        self.images = np.empty(0, np.uint8)
        self.evaluations = 0

    def __call__(self, step: int, places: list[int], denoised: torch.Tensor) -> list[int] | None:
        self.evaluations += len(places)
        self.clock.lap("denoise")
        if step not in self.keep:
            return None
        last = step == self.sampler.steps - 1
        ids = [self.candidates[place] for place in places]
        values, pictures, previews = self._see(None if last else step, denoised)
        self._check(step, ids, values)
        order = best_first([ranks(of) for of in values])
        kept = sorted(order[: self.keep[step]].tolist())
        self.looks.append(
            Look(
                step=step,
                ids=ids,
                rewards={v.name: of for v, of in zip(self.verifiers, values, strict=True)},
                noise_aware={v.name: not last and step in v.levels for v in self.verifiers},
                rank=np.argsort(order),
                kept=[ids[place] for place in kept],
                previews=previews,
            )
        )
        if last:
            self.images = pictures
        self.clock.lap("reward")
        return kept

    def _see(self, step: int | None, denoised: torch.Tensor):
        """Rewards float32 [R, n], images uint8 [n, H, W, 3] (final ones only), previews."""

        def look(part: torch.Tensor):
            images = (self.sampler.decode(part) * 255).round().to(torch.uint8)
            self.clock.lap("decode")
            seen = images.float() / 255
            values = np.stack([v.read(seen, self.prompt, step) for v in self.verifiers])
            self.clock.lap("reward")
            return values, _pixels(images) if step is None else None, _pixels(_small(seen))

        values, images, previews = zip(*self.batches.look(look, denoised), strict=True)
        pictures = np.concatenate(images) if step is None else None
        return np.concatenate(values, axis=1), pictures, np.concatenate(previews)

    def _check(self, step: int, ids: list[int], values: np.ndarray) -> None:
        bad = np.argwhere(~np.isfinite(values))
        if len(bad):
            reward, place = bad[0]
            raise TtsnapError(
                f"{self.verifiers[reward].name} gave {values[reward, place]} for prompt "
                f"{self.prompt[:60]!r}, candidate {ids[place]}, step {step}; mend the reward"
            )


def _small(images: torch.Tensor) -> torch.Tensor:
    """Images float [n, 3, H, W] as uint8 with at most SIDE pixels on the longer side."""
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
    """Seconds by part; a lap waits for what the device still has to do."""

    def __init__(self, device: torch.device):
        self.device, self.seconds, self.last = torch.device(device), Counter(), 0.0
        self._now()

    def lap(self, part: str) -> float:
        """Book the time since the last lap under `part`, and return it."""
        before = self.last
        self.seconds[part] += self._now() - before
        return self.last - before

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.last = time.perf_counter()
        return self.last
