"""`ttsnap align`: how well the reward of each look, base and noise-aware, ranks the final images."""

from pydantic import Field
from pydantic_settings import CliPositionalArg

from ttsnap.commands.options import Command, InFile
from ttsnap.commands.simulate_options import PromptRange, prompt_range
from ttsnap.finetune.alignment import align
from ttsnap.settings.section import Seed
from ttsnap.storage.tensor import read_tensor


class AlignOptions(Command):
    """Which tensor, and which of its prompts."""

    tensor: CliPositionalArg[InFile] = Field(description="reward tensor")
    prompts: PromptRange | None = Field(None, description="only the prompts A:B, B excluded")
    seed: Seed = Field(0, description="seed of the bootstrap")


def run(options: AlignOptions) -> dict:
    """Compare the rewards of each look with the final ones; print and return the figures."""
    tensor = read_tensor(options.tensor)
    result = align(tensor.select(prompt_range(options.prompts, len(tensor.prompts))), options.seed)
    width = max(4, *(len(row["draft"]) for row in result["drafts"]), 0)
    print(f"{'look' if result['drafts'] else 'step':{width}}   τ base   τ noise-aware   difference (95 % interval)")
    for row in [*result["drafts"], *result["steps"]]:
        line = f"{row.get('draft', row.get('step')):>{width}}  {_number(row['base'])}"
        if row["noise_aware"]:
            difference = row["tau_difference"]
            line += f"        {_number(row['noise_aware'])}"
            if difference["value"] is not None:
                line += "   {value:+.3f} ({low:+.3f} to {high:+.3f})".format(**difference)
        print(line)
    return result


def _number(metrics: dict | None) -> str:
    tau = metrics and metrics["tau"]["value"]
    return "     ." if tau is None else f"{tau:+.3f}"
