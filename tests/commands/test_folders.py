"""A command never overwrites a folder or file that is not its own."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from ttsnap.cli import COMMANDS, main, options_of, parse
from ttsnap.commands.folders import MARKER, check_outputs, claim, claimed
from ttsnap.commands.options import Command, Filled
from ttsnap.errors import BadInput, TtsnapError
from ttsnap.storage.files import replacing
from ttsnap.storage.image_shards import write_shard

TEXTS = {"mine/pairs.jsonl": "mine", "p.txt": "a cat\n", "s.json": "{}", "m.jsonl": ""}
PIXELS = np.zeros((1, 2, 1, 8, 8, 3), np.uint8)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory with a shard, prompts and the folder `mine`, which no command made."""
    monkeypatch.chdir(tmp_path)
    write_shard("a.h5", ["a cat"], [3], iter(PIXELS), {"steps": 4, "model": "x", "seed": 0})
    for name, text in TEXTS.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(text)
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


SEARCH = ["search", "p.txt", "--model", "embedded:shapes-sdxl", "--kind", "aesthetic", "--budget", "2"]  # fmt: skip
NOISE = ["optimize-noise", "--prompt", "a", "--model", "embedded:shapes-onestep", "--kind", "aesthetic"]  # fmt: skip
GENERATE = ["generate", "p.txt", "--model", "m", "--candidates", "1"]
FILLING = {
    "assign": ["assign", "--data", "digits", "--model", "gan"],
    "draw-shapes": ["draw-shapes", "--count", "1"],
    "export-images": ["export-images", "a.h5"],
    "noise-theory": ["noise-theory"],
    "optimize-noise": NOISE,
    "report": ["report", "--part", "summary"],
    "search": SEARCH,
    "sft": ["sft", "--manifest", "m.jsonl", "--model", "gan"],
    "train-gan": ["train-gan"],
}


def filled(command: str) -> Filled:
    """How a command fills the folder --out."""
    return parse([*FILLING[command], "--out", "out"])[1].filled()


def test_every_command_that_fills_a_folder_is_tried(here):
    models = {name: options_of(name)[1] for name in COMMANDS}
    fill = {n for n, model in models.items() if model.fills or model.filled is not Command.filled}
    assert fill == FILLING.keys() and all(map(filled, fill))


@pytest.mark.parametrize("command", FILLING)
def test_a_folder_with_other_files_is_refused(here, capsys, command):
    written = filled(command).writes or ("pairs.jsonl",)
    (here / "mine" / written[0]).write_text("mine")
    before = contents(here)
    assert main([*FILLING[command], "--out", "mine"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and f"mine: holds {written[0]}, not made by" in error
    assert contents(here) == before


@pytest.mark.parametrize("command", FILLING)
def test_a_folder_of_another_command_or_a_file_is_refused(here, capsys, command):
    other = next(name for name in FILLING if name != command)
    claim(here / "other", other, filled(other), {})
    before = contents(here)
    for out, says in {"other": f"made by `ttsnap {other}`", "p.txt": "p.txt is a file",
                      "p.txt/x": "p.txt is a file"}.items():  # fmt: skip
        assert main([*FILLING[command], "--out", out]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and says in error
    assert contents(here) == before


@pytest.mark.parametrize(
    ("words", "change", "says"),
    [
        (FILLING["draw-shapes"], ["--count", "2"], "count 1, now it is 2"),
        (FILLING["draw-shapes"], ["--seed", "1"], "seed 0, now it is 1"),
        (FILLING["export-images"], ["--limit", "1"], "limit null, now it is 1"),
        (FILLING["noise-theory"], ["--samples", "99"], "samples 65536, now it is 99"),
        (FILLING["train-gan"], ["--epochs", "3"], "epochs "),
        (FILLING["sft"], ["--noise", "random"], 'noise "assigned", now it is "random"'),
        (NOISE, ["--seed", "1"], "seed 0, now it is 1"),
        (NOISE, ["--model", "else"], 'model "embedded:shapes-onestep", now it is "else"'),
        (SEARCH, ["--budget", "3"], "budget 2.0, now it is 3.0"),
        (SEARCH, ["--method", "ttsp"], 'method "ttsnap", now it is "ttsp"'),
        (SEARCH, ["--keep", "0.5,0.4,0.5"], "keep "),
        (SEARCH, ["--seed", "1"], "seed 0, now it is 1"),
        (SEARCH, ["--model", "else"], 'model "embedded:shapes-sdxl", now it is "else"'),
        (SEARCH, ["--schedule", "s.json"], "schedule null"),
        (SEARCH, ["--kind", "pickscore"], 'kind "aesthetic", now it is "pickscore"'),
        (SEARCH, ["--reward", "{kind: clip}"], "reward [], now it is "),
    ],
)
def test_other_options_name_the_difference(here, words, change, says):
    def take(*more):
        with claimed(*parse([*words, "--out", "out", *more])):
            pass

    take()
    take()
    before = contents(here / "out")
    with pytest.raises(BadInput, match="give another --out") as caught:
        take(*change)
    assert says in str(caught.value)
    assert contents(here / "out") == before
    if words[0] in ("search", "sft", "train-gan"):
        take(*change, "--replace")
        assert contents(here / "out") != before


@pytest.mark.parametrize(
    ("words", "change"),
    [
        (SEARCH, ["--limit", "9", "--device", "cpu", "--json", "x.json"]),
        (NOISE, ["--prompt", "b"]),
        (FILLING["assign"], ["--limit", "9"]),
    ],
)
def test_a_command_that_adds_results_goes_on(here, words, change):
    for more in ([], change):
        with claimed(*parse([*words, "--out", "out", *more])):
            pass


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (["--schedule", "s.json"], "schedule .*s.json"),
        (["--reward", "{kind: clip, checkpoints: [s.json]}"], "with reward "),
    ],
)
def test_an_input_file_that_changed_is_another_option(here, change, says):
    words = [*SEARCH, *change, "--out", "out"]
    with claimed(*parse(words)):
        pass
    Path("s.json").write_text("[]")
    with pytest.raises(BadInput, match=says):
        with claimed(*parse(words)):
            pass


def test_replacing_leaves_no_checkpoint_of_the_run_before(here):
    how = filled("sft")
    claim(Path("out"), "sft", how, {"seed": 0}, False)
    Path("out/checkpoint-epoch-009").mkdir()
    claim(Path("out"), "sft", how, {"seed": 0}, True)
    assert Path("out/checkpoint-epoch-009").exists(), "the same run goes on"
    claim(Path("out"), "sft", how, {"seed": 1}, True)
    assert not Path("out/checkpoint-epoch-009").exists()


@pytest.mark.parametrize(
    ("command", "count"),
    [("assign", 2), ("noise-theory", 1), ("optimize-noise", 1), ("search", 1), ("sft", 2), ("train-gan", 1)],
)  # fmt: skip
def test_a_folder_of_a_version_without_markers_is_continued(here, command, count):
    how = filled(command)
    assert len(how.made) == count
    for number, made in enumerate(how.made):
        out = Path(f"out{number}")
        out.mkdir()
        (out / made).write_text("")
        assert claim(out, command, how, {"seed": 0}) is False
        assert json.loads((out / MARKER).read_text())["command"] == command


def test_a_failed_command_leaves_nothing(here):
    assert main(["draw-shapes", "--out", "new/er", "--count", "0"]) == 2
    assert not Path("new/er").exists()
    assert main(["draw-shapes", "--out", "new", "--count", "2"]) == 0
    first = contents(here / "new")
    assert main(["draw-shapes", "--out", "new", "--count", "2"]) == 0
    assert contents(here / "new") == first and len(first) == 4


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([*GENERATE, "--out", "p.txt"], "is also an input"),
        (["score", "a.h5", "--kind", "aesthetic", "--out", "./a.h5"], "--out: a.h5 is also an input"),
        (["label", "a.h5", "--kind", "aesthetic", "--out", "link.h5"], "is also an input"),
        (["tensor", "--base", "link.h5", "a.h5", "--out", "a.h5"], "is also an input"),
        (["import-images", "mine", "--out", "mine"], "is a folder; name a file"),
        (["export-images", "mine/b.h5", "--out", "mine"], "holds the input mine/b.h5"),
        (["simulate", "a.h5", "--csv", "a.h5"], "--csv: a.h5 is also an input"),
        (["simulate", "a.h5", "--figure", "a.h5"], "--figure: a.h5 is also an input"),
        (["simulate", "a.h5", "--schedule", "s.json", "--json", "s.json"], "is also an input"),
        (["simulate", "a.h5", "--csv", "x", "--json", "./x"], "is also --"),
        (["align", "a.h5", "--json", "mine"], "is a folder; name a file"),
        ([*GENERATE, "--out", "o.h5", "--state", "a.h5/x"], "lies below"),
        ([*GENERATE, "--out", "o.h5", "--state", "p.txt"], "is also an input"),
        (["shard", "p.txt", "--out", "pipe"], "is no plain file"),
        (["shard", "p.txt", "--out", "p.txt"], "is also an input"),
        ([*SEARCH, "--option", "path=mine", "--out", "mine"], "mine is also an input"),
        ([*SEARCH, "--reward", "{kind: clip, options: {path: mine}}", "--out", "mine"], "mine is also an input"),
        (["sft", "--manifest", "m.jsonl", "--model", "mine", "--out", "mine"], "mine is also an input"),
    ],
)  # fmt: skip
def test_an_output_that_is_an_input_or_has_no_place_is_refused(here, capsys, words, says):
    Path("mine/b.h5").write_text("")
    Path("link.h5").symlink_to("a.h5")
    os.mkfifo("pipe")
    before = contents(here)
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and says in error
    assert contents(here) == before


def test_a_value_that_is_also_the_name_of_the_output_is_no_input(here):
    """`--method ttsp --out ttsp` works, even when the folder ttsp exists."""
    claim(Path("ttsp"), "search", filled("search"), {})
    check_outputs(parse([*SEARCH, "--method", "ttsp", "--out", "ttsp"])[1])


def test_a_pipe_is_not_replaced_by_a_file(here):
    os.mkfifo("pipe")
    with pytest.raises(TtsnapError, match="no plain file"), replacing("pipe"):
        pass
    assert Path("pipe").is_fifo()
