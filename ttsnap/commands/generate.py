"""`ttsnap generate`: the Tweedie images of every candidate of one shard."""

import argparse
import hashlib
import json
import sys

from ttsnap.commands.device_options import add_device, pick_device
from ttsnap.commands.model_options import add_model, model_settings, open_model
from ttsnap.commands.options import in_file, integers, out_file, refuse_beside, seed, whole
from ttsnap.errors import BadInput
from ttsnap.pruning.seeds import MOST_CANDIDATES
from ttsnap.storage.prompts import read_prompts


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("prompts", type=in_file, help="prompt file, or a shard of one")
    parser.add_argument("--out", type=out_file, required=True, help="image shard (HDF5)")
    add_model(parser)
    parser.add_argument(
        "--candidates", type=whole(1, MOST_CANDIDATES), required=True, help="seeds per prompt"
    )
    parser.add_argument(
        "--keep-steps",
        type=integers,
        help="steps whose images are kept, e.g. 3,7,19; default: all",
    )
    parser.add_argument("--seed", type=seed, default=0, help="run seed")
    parser.add_argument(
        "--state", help="where to keep the shard for a rerun, which takes over the prompts it has"
    )
    add_device(parser)


def run(args: argparse.Namespace) -> dict:
    """Generate and write the shard; return its size and the model's cost."""
    if not args.state:
        refuse_beside(args, "without --state", "--version")
    prompts, steps = read_prompts(args.prompts), model_settings(args).steps
    keep = sorted(set(args.keep_steps)) if args.keep_steps else list(range(steps))
    if keep[-1] >= steps:
        raise BadInput(f"--keep-steps: {keep} must lie in 0..{steps - 1}")

    import torch
    from tqdm import tqdm

    from ttsnap.models import weights_digest
    from ttsnap.samplers import candidate_seed, to_bytes
    from ttsnap.samplers import run as denoise
    from ttsnap.samplers.cost import sampler_cost
    from ttsnap.storage.code_digest import code
    from ttsnap.storage.image_shards import Kept, write_shard

    device = pick_device(args)
    settings, sampler = open_model(args, device)
    group = settings.negtome.group if settings.negtome else args.candidates
    cost = sampler_cost(sampler)

    @torch.inference_mode()
    def pictures(prompt: str):
        """uint8 [C,len(keep),H,W,3]: a prompt's candidates alone share its batches, so shards do not matter."""
        seeds = [candidate_seed(args.seed, prompt, c) for c in range(args.candidates)]
        condition = sampler.encode(prompt)
        parts = [part(prompt, condition, seeds[c : c + group]) for c in range(0, len(seeds), group)]
        return torch.cat(parts).numpy()

    def part(prompt, condition, seeds):
        """uint8 [len(seeds),len(keep),H,W,3]: all candidates of a prompt, or with NegToMe one group."""
        kept = []

        def look(step, ids, denoised):
            if step in keep:
                images = torch.cat(
                    [sampler.decode(few) for few in denoised.split(settings.batch_size)]
                )
                kept.append(to_bytes(images, [prompt] * len(images)).permute(0, 2, 3, 1).cpu())

        at_once = None if settings.negtome else settings.batch_size
        denoise(sampler, condition, seeds, look, at_once)
        return torch.stack(kept, dim=1)

    attributes = {
        **sampler.describe(),
        "seed": args.seed,
        "denoise_tflop": cost["denoise"],
        "decode_tflop": cost["decode"],
    }
    made_of = [weights_digest(settings.path), code("ttsnap.commands.generate")]
    about = [made_of, attributes, keep, args.candidates, group, settings.batch_size, device]
    identity = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
    kept = Kept(args.state, identity)
    if taken := [prompt for prompt in prompts if prompt in kept.old]:
        print(f"{len(taken)} of {len(prompts)} prompts are there already", file=sys.stderr)

    def rows():
        for prompt in tqdm(prompts, desc="generate", unit="prompt", mininterval=5):
            row = kept.row(prompt)
            yield pictures(prompt) if row is None else row

    write_shard(args.out, prompts, keep, rows(), attributes)
    kept.replace(args.out)
    return {"prompts": len(prompts), "candidates": args.candidates, "steps": keep, **attributes}
