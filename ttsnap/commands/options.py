"""The building blocks of commands' options: files and folders, checked before anything runs, numbers and groups."""

import errno
import os
import stat
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

import yaml
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_settings import CliVariadicArg

from ttsnap.errors import BadInput
from ttsnap.settings.command_line import option_name
from ttsnap.settings.drafts import LookAt
from ttsnap.settings.files import EachKeyOnce
from ttsnap.settings.section import Section, Side, first_fault
from ttsnap.storage.files import one_line

MOST_BYTES = 200  # of a file's name: temporary files beside it have longer ones
READ, WRITTEN, FOLDER = "read", "written", "folder"  # how a command uses the path of an option


def in_file(text: str) -> str:
    """Check a file to read: it exists and is readable."""
    if stat.S_ISDIR(_status(text, "no such file").st_mode):
        raise ValueError(f"{text}: is a folder; name a file")
    if not os.access(text, os.R_OK):
        raise ValueError(f"{text}: may not be read; see its permissions")
    return text


def in_folder(text: str) -> str:
    """Check a folder to read from."""
    if not stat.S_ISDIR(_status(text, "no such folder").st_mode):
        raise ValueError(f"{text}: is a file; name a folder")
    if not os.access(text, os.R_OK | os.X_OK):
        raise ValueError(f"{text}: may not be read; see its permissions")
    return text


def out_file(text: str) -> str:
    """Check a file to write: no folder, and in a folder that can be written or made."""
    out_path(text)
    if os.path.isdir(text):
        raise ValueError(f"{text}: is a folder; name a file")
    return text


def out_path(text: str) -> str:
    """Check a path to write; another option decides whether it is a file or a folder."""
    _writable(text, os.path.dirname(os.path.abspath(_checked_name(text))))
    return text


def out_folder(text: str) -> str:
    """Check a folder to write into."""
    _writable(text, os.path.abspath(_checked_name(text)))
    return text


def _checked_name(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty; give a name")
    if any(len(os.fsencode(part)) > MOST_BYTES for part in text.split(os.sep)):
        raise ValueError(f"{text[:40]}…: this name is too long")
    return text


def _status(text: str, missing: str) -> os.stat_result:
    try:
        return os.stat(_checked_name(text))
    except OSError as error:
        reason = missing if error.errno == errno.ENOENT else error.strerror
        raise ValueError(f"{text[:200]}: {reason}") from None


def _writable(text: str, folder: str) -> None:
    """Refuse a folder if it, or else its nearest existing parent, cannot be written."""
    while not os.path.exists(folder):
        folder = os.path.dirname(folder)
    if not os.path.isdir(folder):
        raise ValueError(f"{text}: {folder} is a file, not a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ValueError(f"{text}: {folder} cannot be written; see its permissions")


InFile = Annotated[str, AfterValidator(in_file), READ]
InFiles = CliVariadicArg[list[InFile]]
InFolder = Annotated[str, AfterValidator(in_folder), READ]
Readable = Annotated[str, READ]  # a model: a folder, a hub id, embedded:NAME
OutFile = Annotated[str, AfterValidator(out_file), WRITTEN]
OutPath = Annotated[str, AfterValidator(out_path), WRITTEN]
OutFolder = Annotated[str, AfterValidator(out_folder), WRITTEN, FOLDER]
Writable = Annotated[str, WRITTEN]  # the state of a run, which is no result


def split_list(value: object) -> object:
    """["3,1,0"] → ["3", "1", "0"]; an empty text gives an empty list. Of an option typed twice the last counts."""
    if isinstance(value, list) and value and isinstance(value[-1], str):
        value = value[-1]
    if isinstance(value, str):
        return value.split(",") if value.strip() else []
    return value


LookList = Annotated[list[LookAt], BeforeValidator(split_list)]
Steps = Annotated[list[Annotated[int, Field(ge=0, le=1000)]], BeforeValidator(split_list)]
Numbers = Annotated[list[float], BeforeValidator(split_list)]
Tflop = Annotated[float, Field(ge=0)]


def _pairs(value: object) -> object:
    """["a=1", "b=2"] → {"a": "1", "b": "2"}."""
    if not isinstance(value, list):
        return value
    pairs = [text.partition("=") for text in value]
    for text, (key, equals, _) in zip(value, pairs, strict=True):
        if not (key and equals):
            raise ValueError(f"{text}: give KEY=VALUE")
    return {key: part for key, _, part in pairs}


Pairs = Annotated[dict[str, str], BeforeValidator(_pairs), READ]


def from_yaml(section: type[Section], form: str) -> BeforeValidator:
    """Reads an option's value as YAML with the keys of `section`; errors name the key at fault."""

    def read(text: object) -> object:
        if not isinstance(text, str):
            return text
        try:
            return section.model_validate(yaml.load(text, Loader=EachKeyOnce))
        except yaml.YAMLError as error:
            raise ValueError(f"{text[:60]}: not YAML ({one_line(error)})") from None
        except ValidationError as error:
            place, message = first_fault(error, section)
            if place:
                raise ValueError(f"{'.'.join(place)}: {message}") from None
            raise ValueError(f"{text[:60]}: give {form}") from None

    return BeforeValidator(read)


@dataclass(frozen=True)
class Filled:
    """How a command fills the folder --out.

    made    files by which to recognise the folder of a version that wrote no markers
    free    options that may differ from run to run, as their results are added, not written over;
            None: the command itself compares its settings with those in the folder
    writes  the files it writes into a folder that it shares with other commands: only these are guarded
    stale   patterns of the files that a run with --replace and other options removes
    """

    made: tuple[str, ...] = ()
    free: tuple[str, ...] | None = ()
    writes: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()


class Command(Section):
    """The options of every command; `fills`: how it fills the folder --out, if it does."""

    fills: ClassVar[Filled | None] = None

    json_file: OutFile | None = Field(
        None, validation_alias="json", description="write the results as JSON to this file"
    )

    def filled(self) -> Filled | None:
        """How the command fills --out with these options; None if --out is a file."""
        return self.fills

    def settings_of(self, section: type[Section]) -> dict:
        """The values of the options that are keys of `section`."""
        return self.model_dump(include=set(section.model_fields))


class Replace(Command):
    """--replace, for a command that fills a folder."""

    replace: bool = Field(False, description="replace what this command made in --out with other options")


class ForModel(Section):
    """The one-step generator."""

    model: Readable = Field(description="GAN folder, one-step diffusers folder or hub id")
    size: Side | None = Field(None, description="image side of a pipeline in pixels; default: its own")


def refuse_beside(options: Command, reason: str, *keys: str) -> None:
    """Raise BadInput for the first of the keys that was given, as it has no effect beside other options."""
    for key in keys:
        if key in options.model_fields_set:
            raise BadInput(f"{option_name(type(options), key)}: has no effect {reason}; leave it out")


def places(options: Section, use: str) -> Iterator[tuple[str, str]]:
    """(key, text) of each path or model among the options that the command uses in this way."""
    for key in type(options).model_fields:
        value = getattr(options, key)
        texts = list(_texts(value)) if use in _marks(options, key) else []
        for section in value if isinstance(value, list) else [value]:
            if isinstance(section, Section):
                texts += [text for _, text in places(section, use)]
        yield from ((key, text) for text in texts)


def marked(options: Command, mark: str) -> set[str]:
    """The keys of the options that carry a mark."""
    return {key for key in type(options).model_fields if mark in _marks(options, key)}


def _marks(options: Section, key: str) -> list:
    field = type(options).model_fields[key]
    return [*field.metadata, *_metadata(field.annotation)]


def _metadata(annotation: object) -> Iterator[object]:
    yield from getattr(annotation, "__metadata__", ())
    for part in typing.get_args(annotation):
        yield from _metadata(part)


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts(part)
