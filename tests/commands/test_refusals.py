"""No traceback, whatever a command is given and whatever happens to it: one line, and the right exit status.

TTSNAP_TRACEBACK is set, so that an error without a message of its own fails the test.
"""

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import time
import typing
from pathlib import Path
from typing import Annotated

import good_files
import numpy as np
import pytest
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from ttsnap.cli import COMMANDS, main, options_of
from ttsnap.commands.align import AlignOptions
from ttsnap.commands.console import TRACEBACK
from ttsnap.commands.device_options import OnDevice, pick_device
from ttsnap.errors import BadInput, TtsnapError
from ttsnap.settings.command_line import option_name
from ttsnap.storage.tensor import RewardTensor, write_tensor


@pytest.fixture(autouse=True)
def no_last_resort(monkeypatch):
    monkeypatch.setenv(TRACEBACK, "1")


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A folder of good files, and of files that no reader takes."""
    folder = tmp_path_factory.mktemp("files")
    good_files.make(folder)
    good_files.not_ours(folder / "foreign.h5")
    for name, text in {
        "empty": "", "list.json": "[]", "dict.json": "{}", "null.json": "null", "nan.json": "NaN",
        "deep.json": "[" * 100_000, "garbage": "".join(map(chr, range(256))) * 9,
    }.items():  # fmt: skip
        (folder / name).write_text(text)
    (folder / "a folder {x}").mkdir()
    return folder


def named(command: str) -> dict[str, FieldInfo]:
    """The options of a command, by name as typed."""
    model = options_of(command)[1]
    return {option_name(model, key): field for key, field in model.model_fields.items()}


NUMBERS = ["nan", "inf", "-inf", "1e999", "9" * 30, "9" * 5000, "", "a", "ü 🟥", "0x1", "-9"]


@pytest.mark.parametrize("command", COMMANDS)
def test_each_number_option_refuses_other_values(command):
    """Nothing negative, infinite or unreadable passes for a number."""
    for option, field in named(command).items():
        kinds = {field.annotation, *typing.get_args(field.annotation)}
        if not {int, float} & kinds or str in kinds or typing.get_origin(field.annotation) is list:
            continue
        kind = Annotated[field.annotation, *field.metadata]
        adapter = TypeAdapter(kind, config=ConfigDict(allow_inf_nan=False))
        for value in NUMBERS:
            with contextlib.suppress(ValidationError):
                assert 0 <= adapter.validate_python(value) < float("inf"), (option, value)


@pytest.mark.parametrize("value", ["-1", str(2**70), "nan", "1.5"])
@pytest.mark.parametrize(
    ("command", "option"), [(c, o) for c in COMMANDS for o in named(c) if o in ("--seed", "--threads")]
)
def test_seed_and_threads(command, option, value, capsys):
    assert main([command, f"{option}={value}"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"ttsnap {command}: {option}: ") and error.count("\n") == 1


@pytest.mark.parametrize("command", [c for c in COMMANDS if "--device" in named(c)])
@pytest.mark.parametrize("device", ["foo", "cuda:", "cuda:x", "cuda:-1", "", "CPU", "meta", "cpu:0"])
def test_a_word_that_names_no_device(command, device, capsys):
    assert main([command, f"--device={device}"]) == 2
    assert f"ttsnap {command}: --device: " in capsys.readouterr().err


@pytest.mark.parametrize("device", ["cuda", "cuda:7", "mps", "xpu:1"])
def test_a_device_that_is_not_there(device, monkeypatch):
    import torch

    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(BadInput, match=f"--device: {device} cannot be used here") as error:
        pick_device(OnDevice(device=device))
    assert "\n" not in str(error.value)


# A command on good files, and the places of its files among the words
READING = {
    "shard": (["shard", "prompts.txt", "--out", "o"], [1]),
    "tensor": (["tensor", "--base", "base.h5", "--out", "o"], [2]),
    "align": (["align", "tensor.h5"], [1]),
    "simulate": (["simulate", "tensor.h5", "--schedule", "schedule.json", "--budgets", "1,2",
                  "--budgets-in", "candidates", "--draws", "3"], [1, 3]),
    "fit-schedule": (["fit-schedule", "tensor.h5", "--budgets", "1,2",
                      "--budgets-in", "candidates", "--evaluations", "3"], [1]),
    "compare-search": (["compare-search", "found", "--tensor", "tensor.h5"], [1, 3]),
    "import-values": (["import-values", "--base", "values", "--out", "o", "--prompts-file", "prompts.json"], [2, 6]),
    "import-images": (["import-images", "tree", "--out", "o", "--prompts", "prompts.json"], [1, 5]),
    "export-images": (["export-images", "images.h5", "--out", "o"], [1]),
    "gain": (["report", "--part", "gain", "--simulation", "simulation.json", "--schedule", "schedule.json",
              "--out", "o"], [4, 6]),
    "levels": (["report", "--part", "levels", "--alignment", "alignment.json", "--level", "level.json",
                "--out", "o"], [4, 6]),
    "gallery": (["report", "--part", "gallery", "--simulation", "simulation.json", "--tensor", "tensor.h5",
                 "--images", "images.h5", "--out", "o"], [4, 6, 8]),
    "search": (["report", "--part", "search", "--comparison", "level.json", "--out", "o"], [4]),
    "table": (["report-sft", "--part", "table", "--comparison", "level.json", "--out", "o"], [4]),
    "curves": (["report-sft", "--part", "curves", "--training", "level.json", "--out", "o"], [4]),
    "grid": (["report-sft", "--part", "grid", "--images", "level.json", "--out", "o"], [4]),
}  # fmt: skip
WRONG = [
    "none", "", "a folder {x}", "garbage", "empty", "list.json", "dict.json", "null.json", "nan.json",
    "deep.json", "foreign.h5", "images.h5", "base.h5", "other.h5", "alignment.json", "level.json",
    "picture.png", "prompts.csv", "none/below", "x" * 5000, "/proc/self/mem",
]  # fmt: skip


@pytest.mark.parametrize("command", READING)
def test_a_wrong_file_is_refused_in_one_line(command, good, tmp_path, monkeypatch, capsys):
    """A file of another kind or of none, a folder, nothing: status 2, or 0 if the file will do; never a traceback."""
    monkeypatch.chdir(good)
    words, places = READING[command]
    words = [str(tmp_path / "o") if word == "o" else word for word in words]
    refused = 0
    for place in places:
        for wrong in WRONG:
            status = main([*words[:place], wrong, *words[place + 1 :]])
            lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("ttsnap")]
            assert (status, len(lines)) in ((0, 0), (2, 1)), (wrong, lines)
            assert status == 0 or wrong[:20] in lines[0] or "found" in lines[0], lines
            refused += status == 2
    assert refused >= len(WRONG) - 4


@pytest.mark.parametrize("command", COMMANDS)
def test_json_that_cannot_be_written_is_refused_first(command, tmp_path, capsys):
    (tmp_path / "file").touch()
    for wrong in (tmp_path, tmp_path / "file/below", "", "x" * 5000):
        assert main([command, f"--json={wrong}"]) == 2
        assert "--json: " in capsys.readouterr().err


@pytest.mark.skipif(os.getuid() == 0, reason="root may read and write everything")
def test_a_file_without_permission(good, tmp_path, capsys):
    path = tmp_path / "p.txt"
    path.write_text("a")
    path.chmod(0)
    assert main(["shard", str(path), "--out", str(tmp_path / "o")]) == 2
    assert "may not be read; see its permissions" in capsys.readouterr().err


def test_an_argument_that_is_not_utf8(capsys):
    assert main(["shard", "p\udc80.txt", "--out", "o"]) == 2
    assert capsys.readouterr().err == "ttsnap shard: argument 2: 'p\\udc80.txt' is not UTF-8\n"


def ends_with(monkeypatch, error: BaseException) -> int:
    """`ttsnap align` ends with an error."""

    def run(options: AlignOptions):
        raise error

    monkeypatch.setattr("ttsnap.commands.align.run", run)
    return main(["align", __file__])


def from_interrupt() -> Exception:
    """What some libraries make of a Ctrl-C."""
    error = ImportError("partially initialised")
    error.__cause__ = KeyboardInterrupt()
    return error


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (BadInput("x: is\nwrong"), 2, "x: is wrong"),
        (TtsnapError("did not"), 1, "did not"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (from_interrupt(), 130, "interrupted"),
        (MemoryError(), 1, "memory ran out; lower"),
        (RuntimeError("CUDA out of memory. Tried"), 1, "memory ran out; lower"),
    ],
)
def test_an_error_ends_a_command_with_one_line(error, status, message, monkeypatch, capsys):
    assert ends_with(monkeypatch, error) == status
    line = capsys.readouterr().err
    assert line.startswith(f"ttsnap align: {message}") and line.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (KeyError("way"), f"unexpected KeyError: 'way' ({TRACEBACK}=1 shows where)"),
        (AssertionError(), f"unexpected AssertionError:  ({TRACEBACK}=1 shows where)"),
        (PermissionError(errno.EACCES, "Permission denied", "/x/y"), "/x/y: Permission denied"),
    ],
)
def test_an_unexpected_error_is_one_line(error, message, monkeypatch, capsys):
    with pytest.raises(type(error)):  # TTSNAP_TRACEBACK is set
        ends_with(monkeypatch, error)
    monkeypatch.delenv(TRACEBACK)
    assert ends_with(monkeypatch, error) == 1
    assert capsys.readouterr().err.splitlines()[-1] == " ".join(f"ttsnap align: {message}".split())


def long_run(tensor: Path) -> list[str]:
    """Minutes of simulation."""
    values = np.random.default_rng(0).normal(size=(100, 60, 6))
    costs = {"denoise_tflop": 1.0, "look_tflop": 1.0}
    write_tensor(tensor, RewardTensor(values, attrs=costs))
    return [
        sys.executable, "-m", "ttsnap", "simulate", str(tensor), "--budgets", "1:50:1",
        "--budgets-in", "candidates", "--steps", "1", "--keep", "0.5", "--draws", "100000",
    ]  # fmt: skip


def test_ctrl_c_is_one_line(tmp_path):
    run = subprocess.Popen(
        long_run(tmp_path / "t.h5"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Processes that a shell starts in the background ignore SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    time.sleep(3)
    run.send_signal(signal.SIGINT)
    _, errors = run.communicate(timeout=60)
    assert (run.returncode, errors.splitlines()[-1:]) == (130, ["ttsnap simulate: interrupted"])
    assert "Traceback" not in errors


ALIGN = f"{sys.executable} -m ttsnap align tensor.h5 --json"


@pytest.mark.parametrize(
    ("line", "status", "message"),
    [
        (f"{ALIGN} o.json | true", 0, ""),
        (f"{ALIGN} o.json 2>&1 | true", 0, ""),
        (f"{ALIGN} o.json >&-", 0, ""),
        (f"{ALIGN} o.json 2>&- >&-", 0, ""),
        (f"PYTHONIOENCODING=ascii {ALIGN} o.json | cat", 0, ""),
        (f"{ALIGN} o.json > /dev/full", 1, "standard output cannot be written (No space left on device)"),
        (f"{sys.executable} -m ttsnap --help | true", 0, ""),
    ],
    ids=lambda value: str(value).rpartition("json")[2],
)  # fmt: skip
def test_the_reader_of_a_pipe_may_leave(line, status, message, good, tmp_path):
    """The results are written all the same."""
    (tmp_path / "tensor.h5").symlink_to(good / "tensor.h5")
    run = subprocess.run(["bash", "-c", f"set -o pipefail; {line}"], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == status, run.stderr
    assert "Traceback" not in run.stderr and "Exception" not in run.stderr
    assert run.stderr == (f"ttsnap align: {message}\n" if message else "")
    if "json" in line:
        assert json.loads((tmp_path / "o.json").read_text())["reward"] == "pickscore"
