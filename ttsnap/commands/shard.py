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
    """The prompts and the shard."""

    prompts: CliPositionalArg[InFile] = Field(description="prompt file (.txt, .json, .jsonl or .csv)")
    size: Positive = Field(16, description="prompts per shard")
    limit: Positive | None = Field(None, description="use only so many prompts, the first ones")
    shard: Count = Field(0, description="number of the shard, from 0")
    out: OutFile = Field(description="JSON lines with index and prompt")


def run(options: ShardOptions) -> dict:
    """Write the shard; return the numbers of prompts and shards."""
    prompts = read_prompts(options.prompts)[: options.limit]
    parts = shards(prompts, options.size)
    if options.shard >= len(parts):
        raise BadInput(f"--shard {options.shard}: {options.prompts} has shards 0 to {len(parts) - 1}")
    lines = [
        json.dumps({"index": index, "prompt": prompt}, ensure_ascii=False) + "\n"
        for index, prompt in enumerate(parts[options.shard], options.shard * options.size)
    ]
    write_text(options.out, "".join(lines))
    return {"prompts": len(prompts), "shards": len(parts), "written": len(lines)}
