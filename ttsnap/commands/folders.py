"""Where a command may write: never over its own inputs, and never into a folder that another filled."""

import argparse
import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ttsnap.errors import BadInput, TtsnapError
from ttsnap.storage.files import read_json, reading, write_text

MARKER = ".ttsnap.json"  # whose a folder is: the command that fills it and the options it was given
HASHED = 64 << 20  # bytes; of a larger file the size stands for the content


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


COMMANDS = {
    "assign": Filled(("manifest.jsonl", "blocks"), None),
    "draw-shapes": Filled(),
    "export-images": Filled(),
    "noise-theory": Filled(("cayley.json",)),
    "optimize-noise": Filled(("diagnostics_best.json",), ("prompt", "prompts", "batch_size")),
    "report": Filled((), None, ("overview.html", "headline.txt", "summary.json")),  # --part summary
    "search": Filled(("traces",), ("prompts", "limit", "batch_size")),
    "sft": Filled(("train_summary.json", "checkpoint-final"), stale=("checkpoint-*",)),
    "train-gan": Filled(("generator.safetensors",)),
    "train-shapes": Filled(("vae.json", "shapes-sdxl"), ("part",)),
}
OUTPUTS = {"simulate": ("figure",), "compare-sft": ("images",)}  # besides those of every command
ALWAYS_OUTPUTS = ("out", "json", "csv", "state")
WORDS = (  # options whose values are words, though a file may be called like one
    "command", "part", "kind", "name", "method", "split", "way", "noise", "data", "reward", "family", "checker",
    "prompt", "prompt_field", "image_field", "look_at", "keep", "steps", "version",
)  # fmt: skip
NEVER_ABOUT = (  # besides options: what the parser says of the command line
    "command", "replace", "device", "threads", "given", "option_strings", "steps_option", *ALWAYS_OUTPUTS,
)  # fmt: skip


def check_outputs(args: argparse.Namespace) -> None:
    """Raise BadInput where an output of a command line is one of its inputs, another output, or no place to write."""
    names = (*ALWAYS_OUTPUTS, *OUTPUTS.get(args.command, ()))
    outputs = {n: Path(v) for n in names if isinstance(v := getattr(args, n, None), str)}
    filled = _filled(args)
    folders = {"out"} if filled or args.command == "download" else set()
    inputs = list(_paths({k: v for k, v in vars(args).items() if k not in names}))
    for name, path in outputs.items():
        option = f"--{name}: {path}"
        _check_place(path, option, name in folders)
        for other in inputs:
            if path.exists() and other.samefile(path):
                raise BadInput(f"{option} is also an input; give another file or folder")
            shared = filled and filled.writes
            if name in folders and not shared and other.resolve().is_relative_to(path.resolve()):
                raise BadInput(f"{option} holds the input {other}; give another --out")
        for other, there in outputs.items():
            if other != name and there.resolve() == path.resolve():
                raise BadInput(f"{option} is also --{other}; give another file")


def _paths(value: object) -> Iterator[Path]:
    """The files and folders that are there among the texts of an option's value."""
    if isinstance(value, dict):
        value = [part for key, part in value.items() if key not in WORDS]
    if isinstance(value, list | tuple):
        for part in value:
            yield from _paths(part)
    elif isinstance(value, str) and value:
        with contextlib.suppress(OSError, ValueError):
            if (path := Path(value)).exists():
                yield path
        if "=" in value:  # KEY=VALUE
            yield from _paths(value.partition("=")[2])


def _check_place(path: Path, option: str, folder: bool) -> None:
    """Raise BadInput where a file or a folder cannot be written for what is there already."""
    if folder and path.exists() and not path.is_dir():
        raise BadInput(f"{option} is a file; name a folder")
    if not folder and path.is_dir():
        raise BadInput(f"{option} is a folder; name a file")
    if not folder and path.exists() and not path.is_file():
        raise BadInput(f"{option} is no plain file; name another")
    for parent in path.parents:
        if parent.exists():
            if not parent.is_dir():
                raise BadInput(f"{option} lies below {parent}, which is a file; name another place")
            return


@contextlib.contextmanager
def claimed(args: argparse.Namespace) -> Iterator[None]:
    """Make --out the command's folder while it runs; one that was new and stayed empty goes when the command fails.

    Raises BadInput, before anything is written, for a folder that holds what the command did not make, or made with
    other options.
    """
    filled = _filled(args)
    if filled is None:
        yield
        return
    folder = Path(args.out)
    new = not folder.exists()
    first = claim(folder, args.command, _about(args, filled), getattr(args, "replace", None))
    try:
        yield
    except BaseException:
        if first and folder.is_dir() and [entry.name for entry in folder.iterdir()] == [MARKER]:
            (folder / MARKER).unlink()
            if new:
                folder.rmdir()
        raise


def claim(folder: Path, command: str, about: dict, replace: bool | None = None) -> bool:
    """Write the marker of a folder that is new, empty or the command's; whether there was none before.

    Raises BadInput as `claimed` does. about: options by name, as JSON has them. replace: take a folder of other
    options all the same; None: the command has no such option.
    """
    filled = COMMANDS[command]
    before = _owner(folder, command, filled)
    if before is not None:
        differing = [key for key in about if key in before and before[key] != about[key]]
        if differing and not replace:
            key = differing[0]
            raise BadInput(
                f"{folder}: holds what {command} made with {key} {_short(before[key])}, now it is "
                f"{_short(about[key])}; give another --out{'' if replace is None else ', or --replace'}"
            )
        for pattern in filled.stale if differing else ():
            for path in folder.glob(pattern):
                shutil.rmtree(path, ignore_errors=True)
        if before == about:
            return False
    text = json.dumps({"command": command, "options": about}, indent=1, ensure_ascii=False) + "\n"
    if before is not None:
        write_text(folder / MARKER, text)
        return False
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / MARKER).open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:  # of two at once, the first has it
        return claim(folder, command, about, replace)
    except OSError as error:
        raise TtsnapError(f"{folder}: cannot be written ({error.strerror})") from None
    return True


def _filled(args: argparse.Namespace) -> Filled | None:
    """How the command fills --out; None where that is a file."""
    if args.command == "report" and args.part != "summary":
        return None
    return COMMANDS.get(args.command)


def _owner(folder: Path, command: str, filled: Filled) -> dict | None:
    """The options in the marker of a folder; {} for one that `command` made and did not mark, None for one that is
    free to take.
    """
    if (folder / MARKER).is_file():
        before = read_json(folder / MARKER)
        if not isinstance(before, dict) or not isinstance(before.get("options"), dict):
            raise BadInput(f"{folder / MARKER}: not a marker of ttsnap; give another --out")
        if before.get("command") != command:
            raise BadInput(
                f"{folder}: made by `ttsnap {before.get('command')}`; give another --out"
            )
        return before["options"]
    names = {entry.name for entry in folder.iterdir()} if folder.exists() else set()
    if names & set(filled.made):
        return {}
    if there := sorted(names & set(filled.writes) if filled.writes else names):
        raise BadInput(
            f"{folder}: holds {there[0]}, not made by `ttsnap {command}`; give another --out, or an empty folder"
        )
    return None


def _about(args: argparse.Namespace, filled: Filled) -> dict:
    """The options that the folder's contents depend on, files with a digest."""
    if filled.free is None:
        return {}
    about = {k: v for k, v in vars(args).items() if k not in (*NEVER_ABOUT, *filled.free)}
    return json.loads(json.dumps({k: _with_digests(v) for k, v in about.items()}, default=str))


def _with_digests(value: object) -> object:
    if isinstance(value, dict):
        return {key: _with_digests(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_with_digests(part) for part in value]
    if isinstance(value, str):
        for path in _paths(value):
            if path.is_file():
                size = path.stat().st_size
                what = f"{size} bytes"
                if size <= HASHED:
                    with reading(path, "cannot be read"):
                        what = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
                return f"{value} ({what})"
    return value


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}…"
