"""The options that name a reward."""

import argparse

from ttsnap.errors import BadInput


def add_reward(parser: argparse.ArgumentParser) -> None:
    """--kind, --option and --name."""
    parser.add_argument(
        "--kind", required=True, help="reward kind: pickscore, aesthetic, or module:Class"
    )
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="what the reward takes, e.g. path=embedded:shapes-clip; repeatable",
    )
    parser.add_argument("--name", help="what the reward is called; its kind if not given")


def open_reward(args: argparse.Namespace, device: str):
    """The reward that --kind and --option name."""
    from ttsnap.rewards.base import load_reward

    options = {}
    for pair in args.option:
        key, equals, value = pair.partition("=")
        if not equals:
            raise BadInput(f"--option {pair}: give KEY=VALUE")
        options[key] = value
    return load_reward(args.kind, device=device, **options)
