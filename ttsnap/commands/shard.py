"""`ttsnap shard`: one shard of a prompt file, as JSON lines."""

import argparse
import json

from ttsnap.commands.options import count, in_file, natural, out_file
from ttsnap.errors import BadInput
from ttsnap.storage.files import write_text
from ttsnap.storage.prompts import read_prompts, shards


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("prompts", type=in_file, help="prompt file: .txt, .json, .jsonl or .csv")
    parser.add_argument("--size", type=count, default=16, help="prompts per shard")
    parser.add_argument("--limit", type=count, help="use only the first so many prompts")
    parser.add_argument("--shard", type=natural, default=0, help="which shard, from 0")
    parser.add_argument(
        "--out", type=out_file, required=True, help="JSON lines with index and prompt"
    )


def run(args: argparse.Namespace) -> dict:
    """Write the shard; return how many prompts and shards there are."""
    prompts = read_prompts(args.prompts)[: args.limit]
    parts = shards(prompts, args.size)
    if not 0 <= args.shard < len(parts):
        raise BadInput(f"--shard {args.shard}: {args.prompts} has shards 0 to {len(parts) - 1}")
    first = args.shard * args.size
    lines = [
        json.dumps({"index": first + at, "prompt": prompt}, ensure_ascii=False) + "\n"
        for at, prompt in enumerate(parts[args.shard])
    ]
    write_text(args.out, "".join(lines))
    return {"prompts": len(prompts), "shards": len(parts), "written": len(lines)}
