"""The options that name a reward."""

import argparse

from ttsnap.errors import BadInput
from ttsnap.rewards.registry import check_options


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


def check_reward(args: argparse.Namespace) -> dict[str, str]:
    """The options of the reward. Raises BadInput, having imported nothing, where kind or options cannot be."""
    options = dict(key_and_value(pair) for pair in args.option)
    check_options(args.kind, options, "--kind", "--option ")
    return options


def key_and_value(pair: str) -> tuple[str, str]:
    """The two halves of KEY=VALUE."""
    key, equals, value = pair.partition("=")
    if not (key and equals):
        raise BadInput(f"--option {pair}: give KEY=VALUE")
    return key, value


def open_reward(args: argparse.Namespace, device: str):
    """The reward that --kind and --option name."""
    from ttsnap.rewards.base import load_reward

    return load_reward(args.kind, device=device, **check_reward(args))
