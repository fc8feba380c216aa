"""`ttsnap shard`: one shard of a prompt file, as JSON lines."""

import json

from pydantic import Field
from pydantic_settings import CliPositionalArg

from ttsnap.commands.options import Command, InFile, OutFile
from ttsnap.errors import BadInput
from ttsnap.settings.section import Count, Positive
from ttsnap.storage.files import write_text
from ttsnap.storage.prompts import read_prompts, shards


class ShardOptions(Command):
    """Which shard of which prompts."""

    prompts: CliPositionalArg[InFile] = Field(description="prompt file: .txt, .json, .jsonl or .csv")
    size: Positive = Field(16, description="prompts per shard")
    limit: Positive | None = Field(None, description="use only the first so many prompts")
    shard: Count = Field(0, description="which shard, from 0")
    out: OutFile = Field(description="JSON lines with index and prompt")


def run(options: ShardOptions) -> dict:
    """Write the shard; return how many prompts and shards there are."""
    prompts = read_prompts(options.prompts)[: options.limit]
    parts = shards(prompts, options.size)
    if options.shard >= len(parts):
        raise BadInput(f"--shard {options.shard}: {options.prompts} has shards 0 to {len(parts) - 1}")
    first = options.shard * options.size
    lines = [
        json.dumps({"index": first + at, "prompt": prompt}, ensure_ascii=False) + "\n"
        for at, prompt in enumerate(parts[options.shard])
    ]
    write_text(options.out, "".join(lines))
    return {"prompts": len(prompts), "shards": len(parts), "written": len(lines)}
