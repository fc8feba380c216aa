"""Searching from Python: with a sampler, or with a diffusers pipeline and any scoring function."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch

from ttsnap.errors import BadInput
from ttsnap.pruning.schedule import Schedule
from ttsnap.samplers import Sampler, wrap_pipeline
from ttsnap.samplers.base import upcast
from ttsnap.search.core import SearchResult, search_prompts
from ttsnap.search.plan import SearchPlan, make_plan, pick_batches, prompts_at_once
from ttsnap.search.verifiers import FunctionVerifier, Score, Verifier
from ttsnap.storage.prompts import shards as chunks


def search(
    sampler: Sampler,
    verifiers: Verifier | Sequence[Verifier],
    schedule: Schedule,
    prompts: str | Iterable[str],
    budget: float,
    unit: str = "tflop",
    *,
    seed: int = 0,
    first_candidate: int = 0,
    batch_size: int = 0,
) -> Iterator[tuple[SearchResult, SearchPlan]]:
    """Yield, for each prompt, the best image within `budget` per prompt ("tflop", "seconds" or "candidates" of
    best-of-N), and the plan, which gives its cost: `plan.spent(result.evaluations, result.readings)`.

    first_candidate: id of the first seed; batch_size 0: by free memory. Raises BadInput as `make_plan` does, before the
    first result.
    """
    verifiers = [verifiers] if isinstance(verifiers, Verifier) else list(verifiers)
    batches = pick_batches(sampler, verifiers, batch_size)
    prompts = [prompts] if isinstance(prompts, str) else list(prompts)
    plan = make_plan(sampler, verifiers, schedule, budget, unit, batches, prompts=len(prompts))
    ids = range(first_candidate, first_candidate + plan.candidates)
    for group in chunks(prompts, prompts_at_once(plan, batches)):
        for result in search_prompts(sampler, verifiers, plan.schedule, group, ids, seed=seed, batches=batches):
            yield result, plan


def search_pipeline(
    pipeline,
    score: Score | Mapping[str, Score],
    prompts: str | Iterable[str],
    *,
    looks: Sequence[int] = (),
    keep: Sequence[float] = (),
    budget: float,
    unit: str = "candidates",
    num_inference_steps: int = 20,
    guidance_scale: float = 5.0,
    height: int | None = None,
    width: int | None = None,
    noise_aware: Mapping[int, Score] | None = None,
    score_tflop: float | None = None,
    seed: int = 0,
    first_candidate: int = 0,
    batch_size: int = 0,
) -> list[SearchResult]:
    """The best image of each prompt (`.image`, uint8 [H, W, 3]) and its trace (`.looks`), from an open
    StableDiffusionXLPipeline, FluxPipeline or StableDiffusionPipeline, on its device.

    score(images float [n, 3, H, W] in [0, 1], prompt) → n values, higher is better; several, given by name, are
    combined by rank sum. looks, keep: the schedule; empty is best-of-N. noise_aware: scores to use at some looks, by
    step, with a single score. score_tflop: of one image, by default counted. Model offload is not supported. Raises
    BadInput as `make_plan` does, and for any other pipeline.
    """
    named = dict(score) if isinstance(score, Mapping) else {"score": score}
    if noise_aware and len(named) > 1:
        raise BadInput("noise_aware: goes with one score, not with several")
    if odd := set(noise_aware or ()) - set(looks):
        raise BadInput(f"noise_aware: step {min(odd)} is not one of the looks {list(looks)}")
    sampler = wrap_pipeline(pipeline, steps=num_inference_steps, guidance=guidance_scale, height=height, width=width)
    schedule = Schedule(tuple(looks), tuple(keep))
    size, device = (sampler.height, sampler.width), sampler.device
    with torch.inference_mode(), upcast(pipeline.vae):
        verifiers = [
            FunctionVerifier(name, function, noise_aware, score_tflop, size, device) for name, function in named.items()
        ]
        options = {"seed": seed, "first_candidate": first_candidate, "batch_size": batch_size}
        return [result for result, _ in search(sampler, verifiers, schedule, prompts, budget, unit, **options)]
