"""The options that name a reward."""

import argparse

from ttsnap.commands.options import in_file
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


class _OfReward(argparse.Action):
    """--kind begins a reward; --name, --option and --checkpoint are of the one begun last."""

    def __call__(self, parser, namespace, value, option_string=None):
        rewards = list(namespace.rewards or [])
        if self.const == "kind":
            rewards.append({"kind": value, "name": value, "options": {}, "checkpoints": []})
        elif not rewards:
            parser.error(f"{option_string} belongs to a reward: give --kind before it")
        elif self.const == "option":
            key, text = key_and_value(value)
            rewards[-1]["options"] = {**rewards[-1]["options"], key: text}
        elif self.const == "checkpoint":
            rewards[-1]["checkpoints"] = [*rewards[-1]["checkpoints"], value]
        else:
            rewards[-1]["name"] = value
        namespace.rewards = rewards


def add_rewards(parser: argparse.ArgumentParser) -> None:
    """The same for several rewards, and --checkpoint: each belongs to the --kind before it."""
    for name, required, text in (
        ("kind", True, "reward kind: pickscore, aesthetic, or module:Class; several go by rank sum"),
        ("name", False, "what the reward before it is called; its kind if not given"),
        ("option", False, "KEY=VALUE that the reward before it takes; repeatable"),
        ("checkpoint", False, "level checkpoint of the reward before it; repeatable"),
    ):  # fmt: skip
        parser.add_argument(
            f"--{name}", action=_OfReward, const=name, dest="rewards", required=required,
            type=in_file if name == "checkpoint" else str,
            metavar=name.upper(), help=text, default=argparse.SUPPRESS if name != "kind" else None,
        )  # fmt: skip
