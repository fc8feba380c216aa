"""Make a command's options from a typed model (by pydantic-settings), and command-line words from its values."""

import argparse
import re
from collections.abc import Iterable
from typing import NoReturn, TypeVar

from pydantic import ValidationError
from pydantic_core import PydanticUndefined
from pydantic_settings import CliSettingsSource

from ttsnap.errors import BadInput, did_you_mean
from ttsnap.settings.section import Section, first_fault, section_of

OFF = "off"  # the value that turns an optional section off
NO_DEFAULT = re.compile(r"\s*(\(default: (None|False|\[\]|{})\)|default: None \(undefined\))")
Options = TypeVar("Options", bound=Section)


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises BadInput instead of printing its usage and exiting."""

    def error(self, message: str) -> NoReturn:
        raise BadInput(message.removeprefix("argument "))

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is not None and value not in action.choices:
            hint = did_you_mean(value, action.choices) or "; `ttsnap --help` lists them"
            self.error(f"{value}: no such command{hint}")

    def parse_args(self, words=None, namespace=None) -> argparse.Namespace:
        found, surplus = self.parse_known_args(words, namespace)
        if surplus:
            found.parser.refuse(surplus[0])
        return found

    def refuse(self, word: str) -> NoReturn:
        """Raise BadInput for a word that the command does not understand."""
        option = word.partition("=")[0]
        if not option.startswith("-"):
            self.error(f"{word!r}: one argument too many")
        hint = did_you_mean(option, self.options()) or f"; see `{self.prog} --help`"
        self.error(f"{option}: no such option{hint}")

    def options(self) -> list[str]:
        """The names of all options."""
        return [name for action in self._actions for name in action.option_strings]


def add_options(parser: Parser, model: type[Section]) -> None:
    """Declare an option for each key of `model`, as --section-key for the keys of a nested section."""

    def add(place, *names: str, **options):
        if "metavar" in options and not str(options["metavar"]).startswith("{"):
            options["metavar"] = names[0].lstrip("-").rpartition(".")[2].upper()
        options["help"] = NO_DEFAULT.sub("", options["help"])
        if not names[0].startswith("-"):  # a missing argument is reported last
            options["nargs"] = "*" if options.get("nargs") else "?"
        return place.add_argument(*(name.replace(".", "-") for name in names), **options)

    def add_group(parser: Parser, title: str, description: str, **_):
        return parser.add_argument_group(title, NO_DEFAULT.sub("", description).strip())

    CliSettingsSource(
        model,
        root_parser=parser,
        add_argument_method=add,
        add_argument_group_method=add_group,
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
        cli_use_class_docs_for_groups=True,
    )
    parser.set_defaults(parser=parser)


def read_options(found: argparse.Namespace, model: type[Options]) -> Options:
    """Validate the options of a command line. Raises BadInput, naming the option at fault.

    Takes values as typed; pydantic-settings itself would read commas and brackets as lists.
    """
    values: dict = {}
    given = {k: v for k, v in vars(found).items() if v is not PydanticUndefined}
    for name in sorted(given.keys() - {"command", "parser"}):  # a section before its keys
        *sections, key = name.split(".")
        at = values
        for section in sections:
            if not isinstance(at.get(section), dict):
                at[section] = {}
            at = at[section]
        at[key] = given[name]
    for key, field in model.model_fields.items():
        value = values.get(key, {})
        if section_of(field.annotation) and not isinstance(value, dict | list):
            if value not in (None, "{}", OFF):
                raise BadInput(f"--{key}: takes no value but {OFF}, got {value!r}")
            values[key] = None if value == OFF else {}
    try:
        return model.model_validate(values)
    except ValidationError as error:
        place, message = first_fault(error, model)
        place = [part.replace("_", "-") for part in place if not part.isdigit()]
        if not place:
            raise BadInput(message) from None
        option = "--" + "-".join(place)
        raise BadInput(f"{option if option in found.parser.options() else place[0]}: {message}") from None


def option_name(model: type[Section], key: str) -> str:
    """The name of a key's option."""
    alias = model.model_fields[key].validation_alias
    alias = getattr(alias, "choices", [alias or key])[0]
    return "--" + alias.replace("_", "-")


def arguments(section: Section, leave_out: Iterable[str] = ()) -> list[str]:
    """Command-line words for the values of a section that differ from their defaults; inverse of `read_options`."""
    words = []
    for key, field in type(section).model_fields.items():
        value = getattr(section, key)
        if key not in leave_out and value != field.get_default(call_default_factory=True):
            words += _words("--" + key.replace("_", "-"), value)
    return words


def _words(option: str, value: object) -> list[str]:
    if isinstance(value, Section):
        inner = arguments(value)
        return [w.replace("--", f"{option}-", 1) if w.startswith("--") else w for w in inner] or [option]
    if isinstance(value, bool):
        return [option if value else option.replace("--", "--no-", 1)]
    if isinstance(value, dict):
        return [word for key, part in value.items() for word in (option, f"{key}={part}")]
    if isinstance(value, list | tuple):
        return [option, ",".join(map(str, value))]
    return [option, OFF if value is None else str(value)]
