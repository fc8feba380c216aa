"""`ttsnap generate`: the Tweedie images of every candidate of one shard."""

import argparse
import hashlib
import json
import sys

from ttsnap.commands.options import add_device, has_fast_bfloat16, integers, pick_device
from ttsnap.errors import BadInput
from ttsnap.prompts import read_prompts


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("prompts", help="prompt file, or a shard of one")
    parser.add_argument("--out", required=True, help="image shard (HDF5)")
    parser.add_argument("--model", required=True, help="diffusers folder, hub id or embedded:NAME")
    parser.add_argument("--steps", type=int, default=20, help="denoising steps")
    parser.add_argument("--guidance", type=float, default=5.0, help="guidance scale")
    parser.add_argument("--height", type=int, default=512, help="pixels")
    parser.add_argument("--width", type=int, default=512, help="pixels")
    parser.add_argument("--dtype", default="auto", help="auto, float32, bfloat16 or float16")
    parser.add_argument("--batch-size", type=int, default=8, help="candidates denoised at once")
    parser.add_argument("--candidates", type=int, required=True, help="seeds per prompt")
    parser.add_argument(
        "--keep-steps",
        type=integers,
        help="steps whose images are kept, e.g. 3,7,19; default: all",
    )
    parser.add_argument("--seed", type=int, default=0, help="run seed")
    parser.add_argument(
        "--state", help="where to keep the shard for a rerun, which takes over the prompts it has"
    )
    parser.add_argument(
        "--version", default="", help="of code and weights: with another one nothing is taken over"
    )
    add_device(parser)


def run(args: argparse.Namespace) -> dict:
    """Generate and write the shard; return its size and the model's cost."""
    import torch
    from tqdm import tqdm

    from ttsnap.cost import sampler_cost
    from ttsnap.models import resolve
    from ttsnap.samplers import candidate_seed, load_sampler
    from ttsnap.samplers import run as denoise
    from ttsnap.tweedie import Kept, write_shard

    device = pick_device(args)
    prompts = read_prompts(args.prompts)
    keep = sorted(set(args.keep_steps)) if args.keep_steps else list(range(args.steps))
    if keep[0] < 0 or keep[-1] >= args.steps:
        raise BadInput(f"--keep-steps: {keep} must lie in 0..{args.steps - 1}")
    dtype = args.dtype
    if dtype == "auto":
        dtype = "bfloat16" if has_fast_bfloat16(device) else "float32"
    sampler = load_sampler(
        resolve(args.model),
        steps=args.steps,
        guidance=args.guidance,
        height=args.height,
        width=args.width,
        device=device,
        dtype=dtype,
    )
    cost = sampler_cost(sampler)

    @torch.inference_mode()
    def pictures(prompt: str):
        """uint8 [C,len(keep),H,W,3]: a prompt's candidates alone share its batches, so shards do not matter."""
        seeds = [candidate_seed(args.seed, prompt, c) for c in range(args.candidates)]
        kept = []

        def look(step, ids, denoised):
            if step in keep:
                images = torch.cat(
                    [sampler.decode(part) for part in denoised.split(args.batch_size)]
                )
                kept.append((images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu())

        denoise(sampler, prompt, seeds, look, args.batch_size)
        return torch.stack(kept, dim=1).numpy()

    attributes = {
        **sampler.describe(),
        "seed": args.seed,
        "denoise_tflop": cost["denoise"],
        "decode_tflop": cost["decode"],
    }
    about = [args.version, attributes, keep, args.candidates, args.batch_size, device]
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
