"""The sampling loop of all model families, which can drop candidates."""

from collections.abc import Callable, Sequence
from functools import partial

import torch

from ttsnap.samplers.base import Sampler
from ttsnap.samplers.batches import MicroBatches

OnStep = Callable[[int, list[int], torch.Tensor], object]


@torch.inference_mode()
def run(
    sampler: Sampler,
    prompt,
    seeds: Sequence[int],
    on_step: OnStep | None = None,
    batch_size: int | MicroBatches | None = None,
) -> tuple[torch.Tensor, list[int]]:
    """Denoise the candidates `seeds`; return (final latents [m, …], their ids).

    prompt: a string or its `sampler.encode`; or a list of encoded prompts, one per seed, for candidates of several
    prompts. An id is a position in `seeds`.
    on_step(step, ids, denoised) gets, after evaluation step+1, the Tweedie latents of all remaining candidates, row k
    with the id ids[k]. It may return which to keep: positions in `ids`, or a mask as long as `ids`. None keeps all;
    keeping none ends the run.
    batch_size: most candidates per denoiser call; survivors are packed into full batches. A `MicroBatches` is used as
    it is, and shrinks if memory runs out.
    """
    condition = sampler.encode(prompt) if isinstance(prompt, str) else prompt
    latents, previous, ids = sampler.init(seeds), None, list(range(len(seeds)))
    if not isinstance(batch_size, MicroBatches):
        batch_size = MicroBatches(batch_size or max(1, len(latents)))
    for s in range(sampler.steps):
        parts = batch_size(partial(_step, sampler, s, latents, previous, ids, condition), len(ids))
        latents, denoised = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
        keep = on_step(s, list(ids), denoised) if on_step else None
        if keep is not None:
            positions = _positions(keep, len(ids))
            _check_reference(sampler, s + 1, ids, positions)
            latents, denoised, ids = latents[positions], denoised[positions], [ids[k] for k in positions]
        if not ids:
            break
        previous = denoised if sampler.second_order else None
    return latents, ids


def _step(sampler: Sampler, s: int, latents, previous, ids: list[int], condition, part: slice):
    """One micro-batch of a step; previous: x̂0 of the step before, for a solver that reads it."""
    if isinstance(condition, list):
        condition = sampler.join([condition[k] for k in ids[part]])
    if previous is None:
        return sampler.step(s, latents[part], condition)
    return sampler.step(s, latents[part], condition, previous[part])


def _check_reference(sampler: Sampler, s: int, ids: list[int], positions: list[int]) -> None:
    """Raise ValueError where the first image of a group is dropped or moved although NegToMe will act again."""
    pusher = sampler.pusher
    if pusher and positions and s < sampler.steps and pusher.acts_at(float(sampler.timesteps[s])):
        if ids[positions[0]] != 0:
            raise ValueError(f"candidate 0 is the reference of NegToMe at step {s}: it cannot be dropped yet")


def _positions(keep, n: int) -> list[int]:
    """Positions from positions or from a mask of length n."""
    values = torch.as_tensor(keep).tolist()
    if values and isinstance(values[0], bool):
        if len(values) != n:
            raise ValueError(f"on_step returned a mask of {len(values)} for {n} candidates")
        return [k for k, kept in enumerate(values) if kept]
    return [int(k) for k in values]
