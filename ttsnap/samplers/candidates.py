"""All candidates of a prompt, denoised for the Tweedie images of some steps."""

from collections.abc import Collection

import numpy as np
import torch

from ttsnap.samplers import Sampler, candidate_seed, run, to_bytes


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
                images = torch.cat([sampler.decode(few) for few in denoised.split(batch_size)])
                kept.append(to_bytes(images, [prompt] * len(images)).permute(0, 2, 3, 1).cpu())

        run(sampler, condition, seeds[first : first + group], look, at_once)
        parts.append(torch.stack(kept, dim=1))
    return torch.cat(parts).numpy()
