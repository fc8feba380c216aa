"""`ttsnap generate`: the Tweedie images of every candidate of one shard, or their drafts."""

import hashlib
import json
import sys

from pydantic import Field
from pydantic_settings import CliPositionalArg

from ttsnap.commands.device_options import OnDevice, pick_device
from ttsnap.commands.draft_options import ForLooks, check_looks, open_with_drafts
from ttsnap.commands.options import Command, InFile, OutFile, Steps, Writable, refuse_beside
from ttsnap.errors import BadInput
from ttsnap.models import weights_digest
from ttsnap.pruning.seeds import MOST_CANDIDATES
from ttsnap.settings.section import Seed
from ttsnap.storage.prompts import read_prompts


class GenerateOptions(Command, ForLooks, OnDevice):
    """The prompts, the number of candidates, and the images to keep."""

    prompts: CliPositionalArg[InFile] = Field(description="prompt file, or a shard of it")
    out: OutFile = Field(description="image shard (HDF5)")
    candidates: int = Field(gt=0, le=MOST_CANDIDATES, description="seeds per prompt")
    keep_steps: Steps = Field(
        [], description="steps whose images to keep, e.g. 3,7,19; default: all; with --draft, drafts alone are made"
    )
    seed: Seed = Field(0, description="run seed")
    state: Writable | None = Field(
        None, description="file for a copy of the shard, from which a rerun takes finished prompts"
    )


def run(options: GenerateOptions) -> dict:
    """Generate and write the shard; return its size and the model's cost."""
    check_looks(options)
    prompts = read_prompts(options.prompts)
    if options.draft:
        refuse_beside(options, "with --draft, which makes drafts alone", "keep_steps")
    keep = sorted(set(options.keep_steps)) or list(range(options.steps))
    if keep[-1] >= options.steps:
        raise BadInput(f"--keep-steps: {keep} must lie in 0..{options.steps - 1}")
    from tqdm import tqdm

    from ttsnap.samplers.candidates import draft_images, tweedie_images
    from ttsnap.samplers.cost import sampler_cost
    from ttsnap.storage.code_digest import code
    from ttsnap.storage.image_shards import Kept, write_shard

    device = pick_device(options)
    (sampler, drafters), count = open_with_drafts(options, device), options.candidates
    group = options.negtome and options.negtome.group
    attributes = {**sampler.describe(), "seed": options.seed}
    attributes |= {f"{part}_tflop": cost for part, cost in sampler_cost(sampler).items()}
    if drafters:
        keep, attributes["drafts"] = list(drafters), {name: each.describe() for name, each in drafters.items()}
    files = [options.path, options.look_decoder, *(file for d in options.draft for file in (d.model, d.lora))]
    made_of = [*(weights_digest(file) for file in files if file), code("ttsnap.commands.generate")]
    about = [made_of, attributes, keep, count, group or count, options.batch_size, device]
    identity = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
    kept = Kept(options.state, identity)
    if taken := [prompt for prompt in prompts if prompt in kept.old]:
        print(f"{len(taken)} of {len(prompts)} prompts are done already", file=sys.stderr)

    def images(prompt: str):
        if drafters:
            return draft_images(sampler, drafters.values(), prompt, options.seed, count, options.batch_size)
        return tweedie_images(sampler, prompt, options.seed, count, keep, options.batch_size, group)

    def rows():
        for prompt in tqdm(prompts, desc="generate", unit="prompt", mininterval=5):
            row = kept.row(prompt)
            yield images(prompt) if row is None else row

    write_shard(options.out, prompts, keep, rows(), attributes)
    kept.replace(options.out)
    return {"prompts": len(prompts), "candidates": count, "kept": keep, **attributes}
