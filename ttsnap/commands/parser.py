"""The argument parser: what is wrong in one line, with the nearest of the words there are."""

import argparse
from collections.abc import Sequence
from typing import NoReturn

from ttsnap.errors import BadInput, did_you_mean


def words_given(parser: argparse.ArgumentParser, argv: Sequence[str]) -> dict[str, list[str]]:
    """The options that a parser has, and those of them that stand on a command line."""
    has = [option for action in parser._actions for option in action.option_strings]
    first = {word.partition("=")[0] for word in argv}
    return {"option_strings": has, "given": [option for option in has if option in first]}


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises BadInput rather than print its usage and end the process."""

    def error(self, message: str) -> NoReturn:
        raise BadInput(message.removeprefix("argument "))

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is None or value in action.choices:
            return
        hint = did_you_mean(value, action.choices)
        if action.dest == "command":
            self.error(f"{value}: no such command{hint or '; `ttsnap --help` lists them'}")
        known = ", ".join(map(str, action.choices))
        raise argparse.ArgumentError(action, f"{value!r} is not one of {known}{hint}")

    def parse_args(self, words=None, namespace=None) -> argparse.Namespace:
        args, surplus = self.parse_known_args(words, namespace)
        if surplus:
            self.refuse(surplus[0], args)
        return args

    def refuse(self, word: str, args: argparse.Namespace) -> NoReturn:
        """Say that a word of the command line means nothing to the command that was chosen."""
        option = word.partition("=")[0]
        if not option.startswith("-"):
            self.error(f"{word!r}: one argument too many")
        hint = did_you_mean(option, args.option_strings)
        self.error(f"{option}: no such option{hint or f'; see `ttsnap {args.command} --help`'}")
