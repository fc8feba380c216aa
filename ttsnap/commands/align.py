"""Say how well each step's reward ranks the final images, base against noise-aware."""

import argparse

from ttsnap.commands.options import in_file, seed
from ttsnap.commands.simulate_options import check_seed, parse_prompts
from ttsnap.finetune.alignment import align
from ttsnap.storage.tensor import read_tensor


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("tensor", type=in_file, help="reward tensor")
    parser.add_argument("--prompts", metavar="A:B", help="only these prompts, B excluded")
    parser.add_argument("--seed", type=seed, default=0, help="of the bootstrap")


def run(args: argparse.Namespace) -> dict:
    tensor = read_tensor(args.tensor)
    tensor = tensor.select(parse_prompts(args.prompts, len(tensor.prompts)))
    result = align(tensor, check_seed(args.seed))
    print("step   τ base   τ noise-aware   difference (95 % interval)")
    for row in result["steps"]:
        line = f"{row['step']:4}  {_number(row['base'])}"
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
