"""`ttsnap generate`: the Tweedie images of every candidate of one shard."""

import hashlib
import json
import sys

from pydantic import Field
from pydantic_settings import CliPositionalArg

from ttsnap.commands.device_options import OnDevice, pick_device
from ttsnap.commands.model_options import ForSampling, open_model
from ttsnap.commands.options import Command, InFile, OutFile, Steps, Writable
from ttsnap.errors import BadInput
from ttsnap.models import check_model, weights_digest
from ttsnap.pruning.seeds import MOST_CANDIDATES
from ttsnap.settings.section import Seed
from ttsnap.storage.prompts import read_prompts


class GenerateOptions(Command, ForSampling, OnDevice):
    """The prompts, the number of candidates, and the images to keep."""

    prompts: CliPositionalArg[InFile] = Field(description="prompt file, or a shard of it")
    out: OutFile = Field(description="image shard (HDF5)")
    candidates: int = Field(gt=0, le=MOST_CANDIDATES, description="seeds per prompt")
    keep_steps: Steps = Field([], description="steps whose images to keep, e.g. 3,7,19; default: all")
    seed: Seed = Field(0, description="run seed")
    state: Writable | None = Field(
        None, description="file for a copy of the shard, from which a rerun takes finished prompts"
    )


def run(options: GenerateOptions) -> dict:
    """Generate and write the shard; return its size and the model's cost."""
    check_model(options.path, "--model")
    prompts = read_prompts(options.prompts)
    keep = sorted(set(options.keep_steps)) or list(range(options.steps))
    if keep[-1] >= options.steps:
        raise BadInput(f"--keep-steps: {keep} must lie in 0..{options.steps - 1}")
    from tqdm import tqdm

    from ttsnap.samplers.candidates import tweedie_images
    from ttsnap.samplers.cost import sampler_cost
    from ttsnap.storage.code_digest import code
    from ttsnap.storage.image_shards import Kept, write_shard

    device = pick_device(options)
    sampler, count = open_model(options, device), options.candidates
    cost, group = sampler_cost(sampler), options.negtome and options.negtome.group
    attributes = {**sampler.describe(), "seed": options.seed}
    attributes |= {"denoise_tflop": cost["denoise"], "decode_tflop": cost["decode"]}
    made_of = [weights_digest(options.path), code("ttsnap.commands.generate")]
    about = [made_of, attributes, keep, count, group or count, options.batch_size, device]
    identity = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
    kept = Kept(options.state, identity)
    if taken := [prompt for prompt in prompts if prompt in kept.old]:
        print(f"{len(taken)} of {len(prompts)} prompts are done already", file=sys.stderr)
    how = (options.seed, count, keep, options.batch_size, group)

    def rows():
        for prompt in tqdm(prompts, desc="generate", unit="prompt", mininterval=5):
            row = kept.row(prompt)
            yield tweedie_images(sampler, prompt, *how) if row is None else row

    write_shard(options.out, prompts, keep, rows(), attributes)
    kept.replace(options.out)
    return {"prompts": len(prompts), "candidates": count, "steps": keep, **attributes}
