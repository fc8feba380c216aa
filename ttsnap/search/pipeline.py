"""Searching from Python: with a sampler, or with a diffusers pipeline and any scoring function."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch

from ttsnap.errors import BadInput
from ttsnap.pruning.schedule import Look, Schedule, look_names
from ttsnap.samplers import Sampler, wrap_pipeline
from ttsnap.samplers.base import upcast
from ttsnap.samplers.drafts import Drafter, check_draft
from ttsnap.samplers.whole import adapter_layers, adapters_on
from ttsnap.search.core import SearchResult, search_prompts
from ttsnap.search.plan import SearchPlan, make_plan, pick_batches, prompts_at_once
from ttsnap.search.verifiers import FunctionVerifier, Score, Verifier
from ttsnap.storage.prompts import shards as chunks

DRAFT_KEYS = {"steps", "pipeline", "lora", "guidance", "solver", "karras"}  # of a table in `search_pipeline`


def search(
    sampler: Sampler,
    verifiers: Verifier | Sequence[Verifier],
    schedule: Schedule,
    prompts: str | Iterable[str],
    budget: float,
    unit: str = "tflop",
    *,
    drafters: Mapping[str, Drafter] | None = None,
    seed: int = 0,
    first_candidate: int = 0,
    batch_size: int = 0,
) -> Iterator[tuple[SearchResult, SearchPlan]]:
    """Yield, for each prompt, the best image within `budget` per prompt ("tflop", "seconds" or "candidates" of
    best-of-N), and the plan, which gives its cost: `plan.spent(result.evaluations, result.readings, …)`.

    drafters: of the schedule's drafts, by name (`ttsnap.samplers.drafts.open_drafts`). first_candidate: id of the first
    seed; batch_size 0: by free memory. Raises BadInput as `make_plan` does, before the first result.
    """
    verifiers = [verifiers] if isinstance(verifiers, Verifier) else list(verifiers)
    batches = pick_batches(sampler, verifiers, batch_size)
    prompts = [prompts] if isinstance(prompts, str) else list(prompts)
    plan = make_plan(sampler, verifiers, schedule, budget, unit, batches, prompts=len(prompts), drafters=drafters)
    ids = range(first_candidate, first_candidate + plan.candidates)
    for group in chunks(prompts, prompts_at_once(plan, batches)):
        how = {"drafters": drafters, "seed": seed, "batches": batches}
        for result in search_prompts(sampler, verifiers, plan.schedule, group, ids, **how):
            yield result, plan


def search_pipeline(
    pipeline,
    score: Score | Mapping[str, Score],
    prompts: str | Iterable[str],
    *,
    looks: Sequence[Look] = (),
    keep: Sequence[float] = (),
    budget: float,
    unit: str = "candidates",
    num_inference_steps: int = 20,
    guidance_scale: float = 5.0,
    height: int | None = None,
    width: int | None = None,
    drafts: Mapping[str, object] | None = None,
    look_decoder: object = None,
    solver: str | None = None,
    karras: bool | None = None,
    noise_aware: Mapping[Look, Score] | None = None,
    score_tflop: float | None = None,
    seed: int = 0,
    first_candidate: int = 0,
    batch_size: int = 0,
) -> list[SearchResult]:
    """The best image of each prompt (`.image`, uint8 [H, W, 3]) and its trace (`.looks`), from an open
    StableDiffusionXLPipeline, FluxPipeline or StableDiffusionPipeline, on its device.

    score(images float [n, 3, H, W] in [0, 1], prompt) → n values, higher is better; several, given by name, are
    combined by rank sum. looks, keep: the schedule, names of drafts and then steps; empty is best-of-N. drafts: by name
    a number of steps of the same pipeline; the name of a LoRA loaded in it, which is then on for its draft alone, for
    one step without guidance; another pipeline of the same latents, likewise; or a table with `steps` and any of
    `pipeline`, `lora`, `guidance`, `solver` and `karras`. look_decoder: an AutoencoderTiny that decodes looks. solver,
    karras: of the full run, by default the pipeline's scheduler's. noise_aware: scores to use at some looks, by step or
    draft, with a single score. score_tflop: of one image, by default counted. Model offload is not supported. Raises
    BadInput as `make_plan` does, for a draft of other latents and for any other pipeline.
    """
    named = dict(score) if isinstance(score, Mapping) else {"score": score}
    if noise_aware and len(named) > 1:
        raise BadInput("noise_aware: goes with one score, not with several")
    if odd := set(noise_aware or ()) - set(looks):
        raise BadInput(f"noise_aware: {look_names([*odd][:1])} is not one of the looks {list(looks)}")
    sampler = wrap_pipeline(
        pipeline, steps=num_inference_steps, guidance=guidance_scale, height=height, width=width,
        solver=solver, karras=karras, look_decoder=look_decoder,
    )  # fmt: skip
    tables = [draft if isinstance(draft, Mapping) else {"lora": draft} for draft in (drafts or {}).values()]
    loras = [table.get("lora") for table in tables if table.get("pipeline", pipeline) is pipeline]
    schedule = Schedule(tuple(looks), tuple(keep))
    size, device = (sampler.height, sampler.width), sampler.device
    off = adapters_on(pipeline, lambda held, active: [name for name in active if name not in loras])
    with torch.inference_mode(), upcast(pipeline.vae), off:
        drafters = {name: _drafter(sampler, name, draft) for name, draft in (drafts or {}).items() if name in looks}
        verifiers = [
            FunctionVerifier(name, function, noise_aware, score_tflop, size, device) for name, function in named.items()
        ]
        options = {"seed": seed, "first_candidate": first_candidate, "batch_size": batch_size, "drafters": drafters}
        return [result for result, _ in search(sampler, verifiers, schedule, prompts, budget, unit, **options)]


def _drafter(sampler: Sampler, name: str, draft: object) -> Drafter:
    """The drafter of one entry of `drafts` in `search_pipeline`."""
    if isinstance(draft, int):
        how = {"steps": draft}
    elif isinstance(draft, Mapping):
        how = dict(draft)
    else:
        how = {"lora" if isinstance(draft, str) else "pipeline": draft, "steps": 1, "guidance": 0.0}
    if not isinstance(how.get("steps"), int) or set(how) - DRAFT_KEYS:
        raise BadInput(f"drafts: {name}: give a number of steps, or a table with steps and any of {sorted(DRAFT_KEYS)}")
    pipeline, lora = how.pop("pipeline", None), how.pop("lora", "")
    if lora and not any(lora in layer.lora_A for layer in adapter_layers(pipeline or sampler.pipe)):
        raise BadInput(f"drafts: {name}: the pipeline has no LoRA {lora!r}; load it with load_lora_weights")
    try:
        if pipeline is None:
            found = sampler.variant(**how)
        else:
            guidance = how.pop("guidance", sampler.guidance)
            found = wrap_pipeline(pipeline, **how, guidance=guidance, height=sampler.height, width=sampler.width)
        return check_draft(sampler, Drafter(name, found, lora, lora))
    except BadInput as error:
        raise BadInput(f"drafts: {name}: {error}") from None
