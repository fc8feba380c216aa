"""`ttsnap compare-search`: what real searches measured against what the simulation predicted for them."""

from pydantic import Field
from pydantic_settings import CliPositionalArg

from ttsnap.commands.options import Command, InFiles, InFolder
from ttsnap.errors import foreign_content
from ttsnap.pruning.seeds import MOST_DRAWS
from ttsnap.settings.section import Seed
from ttsnap.simulate.agreement import compare, join_searches, read_search
from ttsnap.storage.tensor import read_tensor


class CompareSearchOptions(Command):
    """The searches, and the tensors to simulate them on."""

    search: CliPositionalArg[list[InFolder]] = Field(
        min_length=1, description="folders of `ttsnap search`, for any methods, budgets and shards"
    )
    tensor: InFiles = Field(
        min_length=1, description="reward tensors of the same prompts, one for each reward of the searches"
    )
    draws: int = Field(100, gt=0, le=MOST_DRAWS, description="draws of the simulation")
    seed: Seed = Field(0, description="seed of the draws and the bootstrap")


def run(options: CompareSearchOptions) -> dict:
    """Compare; print a line per method and budget."""
    tensors = [read_tensor(path) for path in options.tensor]
    with foreign_content(", ".join(options.search[:3]), "searches", "run `ttsnap search` again"):
        searches = join_searches([read_search(folder) for folder in options.search])
        result = compare(searches, tensors, options.draws, options.seed)
        for row in result["rows"]:
            _print(row, result["rewards"][0])
    print(f"{result['differing']} of {result['compared']} figures differ (95 % intervals)")
    return result


def _print(row: dict, reward: str) -> None:
    measured, predicted = row["measured"][reward], row["predicted"].get(reward)
    expected = f"{predicted['value']:.4g}" if predicted else "beyond the pool"
    print(
        f"{row['method']:10} budget {row['budget']:g}: {measured['value']:.4g} (predicted {expected}), "
        f"{row['spent_tflop']:.4g} TFLOP, {row['seconds']['total']:.3g} s"
    )
