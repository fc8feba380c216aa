"""What the options of commands are made of: files and folders, looked at before anything runs, numbers and groups."""

import errno
import os
import stat
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import AfterValidator, BeforeValidator, Field

from ttsnap.errors import BadInput
from ttsnap.settings.command_line import option_name
from ttsnap.settings.section import Section, Side

MOST_BYTES = 200  # of a file's name: what is written beside it has a longer one
READ, WRITTEN, FOLDER = "read", "written", "folder"  # what an option names


def in_file(text: str) -> str:
    """A file to read: it is there, and can be read."""
    if stat.S_ISDIR(_status(text, "no such file").st_mode):
        raise ValueError(f"{text}: is a folder; name a file")
    if not os.access(text, os.R_OK):
        raise ValueError(f"{text}: may not be read; see its permissions")
    return text


def in_folder(text: str) -> str:
    """A folder to read from."""
    if not stat.S_ISDIR(_status(text, "no such folder").st_mode):
        raise ValueError(f"{text}: is a file; name a folder")
    if not os.access(text, os.R_OK | os.X_OK):
        raise ValueError(f"{text}: may not be read; see its permissions")
    return text


def out_file(text: str) -> str:
    """A file to write: no folder, and below none but folders that can be written."""
    out_path(text)
    if os.path.isdir(text):
        raise ValueError(f"{text}: is a folder; name a file")
    return text


def out_path(text: str) -> str:
    """A file or a folder to write, as another option says."""
    _writable(text, os.path.dirname(os.path.abspath(_checked_name(text))))
    return text


def out_folder(text: str) -> str:
    """A folder to write into."""
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
    """Refuse a folder in which, or in the nearest of its parents that is there, nothing can be written."""
    while not os.path.exists(folder):
        folder = os.path.dirname(folder)
    if not os.path.isdir(folder):
        raise ValueError(f"{text}: {folder} is a file, not a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ValueError(f"{text}: {folder} cannot be written; see its permissions")


InFile = Annotated[str, AfterValidator(in_file), READ]
InFolder = Annotated[str, AfterValidator(in_folder), READ]
Readable = Annotated[str, READ]  # a model: a folder, a hub id, embedded:NAME
OutFile = Annotated[str, AfterValidator(out_file), WRITTEN]
OutPath = Annotated[str, AfterValidator(out_path), WRITTEN]
OutFolder = Annotated[str, AfterValidator(out_folder), WRITTEN, FOLDER]
Writable = Annotated[str, WRITTEN]  # a state, which is no result


def _split(value: object) -> object:
    """ "3,1,0" → ["3", "1", "0"]; an empty text is none."""
    texts = [value] if isinstance(value, str) else value
    if isinstance(texts, list) and all(isinstance(text, str) for text in texts):
        return [part for text in texts if text.strip() for part in text.split(",")]
    return value


Steps = Annotated[list[Annotated[int, Field(ge=0, le=1000)]], BeforeValidator(_split)]
Numbers = Annotated[list[float], BeforeValidator(_split)]


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


@dataclass(frozen=True)
class Filled:
    """A command that fills the folder --out.

    made   names by which a folder of a version without markers is known
    free   options that may differ from run to run: the results of other ones are added, not written over;
           None: the command itself compares what it holds
    writes what it writes, where the folder is shared with others: only these names are guarded
    stale  patterns of what a run with --replace removes when options differ
    """

    made: tuple[str, ...] = ()
    free: tuple[str, ...] | None = ()
    writes: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()


class Command(Section):
    """The options of every command; `fills`: how it fills the folder --out, where it does."""

    fills: ClassVar[Filled | None] = None

    json_file: OutFile | None = Field(
        None, validation_alias="json", description="write the results as JSON to this file"
    )

    def filled(self) -> Filled | None:
        """How these very options have it fill --out; None where that is a file."""
        return self.fills


class Replace(Command):
    """--replace, of a command that fills a folder."""

    replace: bool = Field(False, description="in --out, replace what this command made there with other options")


class ForModel(Section):
    """The one-step generator that a command is about."""

    model: Readable = Field(description="GAN folder, one-step diffusers folder or hub id")
    size: Side | None = Field(None, description="image side of a pipeline, in pixels; its own if not given")


def refuse_beside(options: Command, reason: str, *keys: str) -> None:
    """Raise BadInput for the first of the keys that was given: beside what else was, it would have no effect."""
    for key in keys:
        if key in options.model_fields_set:
            name = option_name(type(options), key)
            raise BadInput(f"{name}: has no effect {reason}; leave it out")


def places(options: Section, use: str) -> Iterator[tuple[str, str]]:
    """(key, text) of each file, folder or model that the options name and the command reads, or writes."""
    for key in type(options).model_fields:
        value = getattr(options, key)
        if use in _marks(options, key):
            for text in _texts(value):
                yield key, text
        for section in value if isinstance(value, list) else [value]:
            if isinstance(section, Section):
                for _, text in places(section, use):
                    yield key, text


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
    elif isinstance(value, dict):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _texts(part)
