"""All candidates of a prompt, denoised for the Tweedie images of some steps, or their drafts."""

from collections.abc import Collection, Iterable

import numpy as np
import torch

from ttsnap.samplers import Sampler, candidate_seed, run, to_bytes
from ttsnap.samplers.drafts import Drafter


@torch.inference_mode()
def tweedie_images(
    sampler: Sampler,
    prompt: str,
    run_seed: int,
    candidates: int,
    keep: Collection[int],
    batch_size: int,
    group: int | None = None,
) -> np.ndarray:
    """uint8 [candidates, len(keep), H, W, 3]: the Tweedie images of the steps `keep`, ascending.

    Only candidates of one prompt share a batch, so that no image depends on the rest of a shard. With NegToMe, only
    those of one `group` do, and a whole group is denoised at once.
    """
    at_once = None if group else batch_size
    group = group or candidates
    seeds = [candidate_seed(run_seed, prompt, number) for number in range(candidates)]
    condition, parts = sampler.encode(prompt), []
    for first in range(0, candidates, group):
        kept: list[torch.Tensor] = []

        def look(step, ids, denoised, kept=kept):
            if step in keep:
                decode = sampler.decode if step == sampler.steps - 1 else sampler.look
                kept.append(_pixels(decode, denoised, batch_size, prompt))

        run(sampler, condition, seeds[first : first + group], look, at_once)
        parts.append(torch.stack(kept, dim=1))
    return torch.cat(parts).numpy()


@torch.inference_mode()
def draft_images(
    sampler: Sampler, drafters: Iterable[Drafter], prompt: str, run_seed: int, candidates: int, batch_size: int
) -> np.ndarray:
    """uint8 [candidates, drafts, H, W, 3]: the images of each draft, decoded as `sampler` decodes a look."""
    seeds, kept = [candidate_seed(run_seed, prompt, number) for number in range(candidates)], []
    for drafter in drafters:
        latents = drafter.latents([prompt] * candidates, seeds, batch_size)
        kept.append(_pixels(sampler.look, latents, batch_size, prompt, f"draft {drafter.name}"))
    return torch.stack(kept, dim=1).numpy()


def _pixels(decode, latents: torch.Tensor, batch_size: int, prompt: str, where: str = "") -> torch.Tensor:
    """uint8 [n, H, W, 3] in main memory."""
    images = torch.cat([decode(few) for few in latents.split(batch_size)])
    return to_bytes(images, [prompt] * len(images), where).permute(0, 2, 3, 1).cpu()
