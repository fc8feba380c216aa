"""The right words, early and in the right place: before torch is imported, and with the name that was meant."""

import json
import re
import subprocess
import sys
import warnings
from pathlib import Path

import good_files
import pytest
import yaml
from small_run import ROOT

from ttsnap import __version__
from ttsnap.cli import COMMANDS, main, parse
from ttsnap.errors import BadInput, CutPrompt, did_you_mean, warn_cut
from ttsnap.settings.config import parse_config

MODEL = ["--model", "embedded:shapes-sdxl", "--height", "64", "--width", "64"]
SEARCH = ["search", "prompts.txt", "--out", "found", *MODEL, "--kind", "pickscore",
          "--option", "path=embedded:shapes-clip", "--budget", "1"]  # fmt: skip
GENERATE = ["generate", "prompts.txt", "--out", "s.h5", *MODEL, "--candidates", "2"]
REWARD = ["--kind", "pickscore", "--option", "path=embedded:shapes-clip"]
FINETUNE = ["finetune", "--level", "2", "--train-images", "images.h5", "--train-labels", "base.h5",
            "--validation-images", "images.h5", "--validation-labels", "base.h5", "--out", "c",
            *REWARD]  # fmt: skip
OPTIMISE = ["optimize-noise", "--model", "embedded:shapes-onestep", "--out", "found", *REWARD]
ASSIGN = ["assign", "--data", "digits", "--model", "embedded:shapes-onestep", "--out", "found"]

# Wrong calls, and what the message of each contains
EARLY = [
    ([*SEARCH, "--looks", "2,99", "--keep", "0.5,0.5"], "step 99 is outside 0..18"),
    ([*SEARCH, "--steps", "5", "--looks", "4", "--keep", "0.5"], "step 4 is outside 0..3"),
    ([*SEARCH, "--keep", "0.4"], "3 looks but 1 keep fractions"),
    ([*SEARCH, "--keep", "a,b,c"], "--keep: 'a' is not a number"),
    ([*SEARCH, "--keep", "2,2,2"], "keep fraction 2.0 is outside (0, 1]"),
    ([*SEARCH, "--schedule", "none.json"], "--schedule: none.json: no such file"),
    ([*SEARCH, "--schedule", "prompts.json"], "prompts.json: no schedule in it"),
    ([*SEARCH, "--checkpoint", "none"], "--checkpoint: none: no such file"),
    ([*SEARCH, "--kind", "pikscore"], "reward kind 'pikscore' is unknown"),
    ([*SEARCH, "--option", "pat=x"], "--option pat: unknown key; pickscore takes path, fit; did you mean path?"),
    ([*SEARCH, "--device", "foo"], "--device: 'foo' is no device; give cpu"),
    ([*SEARCH, "--reward", "{kind: pikscore}"], "--reward: kind: reward kind 'pikscore' is unknown"),
    ([*SEARCH, "--reward", "{knid: clip}"], "--reward: knid: unknown key; did you mean kind?"),
    ([*SEARCH, "--negtome-group", "4"], "--negtome: a search drops candidates"),
    (["search", "none.txt", *SEARCH[2:]], "prompts: none.txt: no such file"),
    (["search", "images.h5", *SEARCH[2:]], "images.h5: prompts come as .txt"),
    ([*SEARCH, "--budget", "nan"], "--budget: 'nan' is not finite"),
    ([*SEARCH, "--out", "prompts.txt"], "prompts.txt is a file, not a folder"),
    ([*GENERATE, "--keep-steps", "99"], "--keep-steps: [99] must lie in 0..19"),
    ([*GENERATE, "--keep-steps", "a"], "--keep-steps: 'a' is not a whole number"),
    ([*GENERATE, "--dtype", "flaot32"], "did you mean float32?"),
    ([*GENERATE, "--model", "flux"], "--model: 'flux': no such folder; did you mean flux-dev?"),
    ([*GENERATE, "--model", "embedded:shape-sdxl"], "did you mean shapes-sdxl?"),
    ([*GENERATE, "--model", "./nowhere"], "--model: ./nowhere: no such file or folder"),
    ([*GENERATE, "--seed", str(2**70)], "--seed: '1180591620717411303424' is too large"),
    ([*GENERATE, "--out", "."], "--out: .: is a folder; name a file"),
    (["score", "none.h5", "--out", "s.h5", *REWARD], "images: none.h5: no such file"),
    (["score", "prompts.txt", "--out", "s.h5", *REWARD], "prompts.txt: "),
    (["score", "images.h5", "--out", "s.h5", "--kind", "hpsv3"], "did you mean hpsv2?"),
    (["label", "prompts.txt", "--out", "s.h5", *REWARD], "prompts.txt: "),
    (["label", "images.h5", "--out", "s.h5", *REWARD, "--option", "x"], "--option: x: give KEY=VALUE"),
    ([*FINETUNE, "--level", "17"], "--level: 17, but images.h5 holds images of steps"),
    ([*FINETUNE, "--loss", "mes"], "--loss: 'mes' is not one of mse, preference; did you mean mse?"),
    ([*FINETUNE, "--lr", "nan"], "--lr: 'nan' is not finite"),
    ([*FINETUNE, "--train-labels", "images.h5"], "images.h5: not a"),
    ([*OPTIMISE, "--prompt", ""], "--prompt: is empty"),
    ([*OPTIMISE, "--prompt", " "], "--prompt: is empty"),
    ([*OPTIMISE, "--prompts", "none.csv"], "--prompts: none.csv: no such file"),
    ([*OPTIMISE, "--prompt", "a", "--optimiser", "adma"], "did you mean adam?"),
    ([*OPTIMISE, "--prompt", "a", "--model", "./no"], "--model: ./no: no such file or folder"),
    ([*ASSIGN, "--model", "gan/"], "--model: gan/: no such file or folder"),
    ([*ASSIGN, "--data", "digit"], "--data: 'digit' is not one of digits, mnist, fashion_mnist, cifar10; did you"),
    ([*ASSIGN, "--pairs", "pairs.jsonl"], "give either --data or --pairs"),
    (["sft", "--manifest", "none", "--model", "gan", "--out", "o"], "--manifest: none: no such file"),
    (["compare-sft", "--model", "./a", "--base", "./b", "--train-manifest", "pairs.jsonl",
      "--test-manifest", "pairs.jsonl", "--classifier", "base.h5"], "--model: ./a: no such file"),
    (["train-gan", "--data", "mnsit", "--out", "g"], "did you mean mnist?"),
    (["train-gan", "--data", "cifar10", "--out", "g"], "cifar10: name its folder"),
    (["train-gan", "--epochs", "0", "--out", "g"], "--epochs: '0' is too small; give more than 0"),
    (["train-classifier", "--epochs", "0", "--out", "c"], "--epochs: '0' is too small; give more than 0"),
    (["cost", "--model", "flux"], "--model: flux: no such model folder; did you mean flux-dev?"),
    (["noise-theory", "--samples", "3", "--out", "o"], "--samples: 3 is too few for 16 dimensions"),
    (["shard", "prompts.txt", "--out", "none/../prompts.txt/x"], "is a file, not a folder"),
    (["report", "--part", "gian", "--out", "x"], "did you mean gain?"),
    (["download", "--only", "HPS"], "did you mean HPSv2?"),
    ([*SEARCH, "--schedule", "schedule.json", "--keep", "0.5"], "--keep: has no effect beside --schedule"),
    ([*SEARCH, "--method", "best_of_n", "--looks", "2"], "--looks: has no effect with --method best_of_n"),
    ([*SEARCH, "--method", "ttsp", "--checkpoint", "base.h5"], "--checkpoint: has no effect with --method ttsp"),
    ([*FINETUNE, "--lora-alpha", "0"], "--lora-alpha: '0' is too small; give more than 0"),
    (["simulate", "tensor.h5", "--schedule", "schedule.json", "--steps", "2"], "--looks: has no effect beside"),
    ([*ASSIGN, "--data-root", "."], "--data-root: has no effect with --data"),
    (["assign", "--pairs", "pairs.jsonl", *ASSIGN[3:], "--split", "test"], "--split: has no effect with --pairs"),
    (["compare-sft", "--model", "embedded:shapes-onestep", "--base", "embedded:shapes-onestep",
      "--train-manifest", "pairs.jsonl", "--test-manifest", "pairs.jsonl", "--classifier", "base.h5",
      "--folder", "."], "--folder: has no effect without --data"),
    (["download", "--only", "mnist", "--hps-version", "v2.0"], "--hps-version: has no effect without HPSv2"),
    (["shards"], "shards: no such command; did you mean shard?"),
    (["simulate", "tensor.h5", "--shedule", "x"], "--shedule: no such option; did you mean --schedule?"),
    (["fit-schedule", "tensor.h5", "--method", "ttsnp"], "did you mean ttsnap?"),
]  # fmt: skip

NO_TORCH = [
    ["shard", "prompts.txt", "--out", "o/shard.jsonl"],
    ["tensor", "--base", "base.h5", "--out", "o/tensor.h5"],
    ["align", "tensor.h5"],
    ["simulate", "tensor.h5", "other.h5", "--budgets", "1:5:1", "--budgets-in", "candidates",
     "--steps", "1", "--keep", "0.5", "--figure", "o/figure.png"],
    ["fit-schedule", "tensor.h5", "--budgets", "1:5:1", "--budgets-in", "candidates",
     "--evaluations", "5"],
    ["import-values", "--base", "values", "--num-steps", "6", "--out", "o/values.h5"],
    ["import-images", "tree", "--out", "o/tree.h5"],
    ["export-images", "images.h5", "--out", "o/tree"],
    *(["report", "--part", part, "--simulation", "simulation.json", "--alignment",
       "alignment.json", "--out", f"o/{part}"] for part in ("budget", "tau", "levels", "gain")),
    ["report", "--part", "cost", "--simulation", "simulation.json", "--tensor", "tensor.h5",
     "--out", "o/cost"],
    ["report", "--part", "gallery", "--simulation", "simulation.json", "--tensor", "tensor.h5",
     "--images", "images.h5", "--out", "o/gallery"],
    ["report", "--part", "summary", "--simulation", "simulation.json", "--tensor", "tensor.h5",
     "--alignment", "alignment.json", "--out", "o/summary"],
    ["--version"],
    ["--help"],
    *([name, "--help"] for name in COMMANDS),
]  # fmt: skip

SCRIPT = """
import contextlib, io, json, sys
from ttsnap.cli import main
for words in json.load(sys.stdin):
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        status = main(words)
    slow = [m for m in ("torch", "diffusers", "transformers", "sklearn") if m in sys.modules]
    print(json.dumps([status, errors.getvalue(), slow]))
    for name in [n for n in sys.modules if n.partition(".")[0] in slow]:
        del sys.modules[name]
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Status, stderr and slow imports of every call of EARLY and NO_TORCH, in one fresh process."""
    folder = tmp_path_factory.mktemp("calls")
    good_files.make(folder)
    calls = [words for words, _ in EARLY] + NO_TORCH
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT], input=json.dumps(calls), cwd=folder, text=True,
        capture_output=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return dict(zip(map(json.dumps, calls), map(json.loads, run.stdout.splitlines()), strict=True))


@pytest.mark.parametrize(("words", "message"), EARLY, ids=lambda value: str(value)[-60:])
def test_refused_before_torch_is_imported(words, message, outcomes):
    status, errors, slow = outcomes[json.dumps(words)]
    assert (status, slow) == (2, []), errors
    assert message in errors and errors.count("\n") == 1, errors


@pytest.mark.parametrize("words", NO_TORCH, ids=lambda words: " ".join(words[:3]))
def test_needs_no_torch(words, outcomes):
    status, errors, slow = outcomes[json.dumps(words)]
    assert (status, slow) == (0, []), errors


@pytest.mark.parametrize(
    ("word", "known", "meant"),
    [
        ("flux", ["flux-dev", "sdxl-base"], "flux-dev"),
        ("FLUX-DEV", ["flux-dev"], "flux-dev"),
        ("turbo", ["sdxl-base", "sdxl-turbo"], "sdxl-turbo"),
        ("pikscore", ["clip", "pickscore"], "pickscore"),
        (None, ["one"], None),
        ("zebra", ["flux-dev", "sdxl-base"], None),
        ("", ["flux-dev"], None),
    ],
)
def test_did_you_mean(word, known, meant):
    assert did_you_mean(word, known) == (f"; did you mean {meant}?" if meant else "")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"simulate": {"bugets": "1:2:1"}}, "simulate.bugets: unknown key; did you mean budgets?; docs"),
        ({"modle": {}}, "did you mean model?"),
        ({"model": {"path": "embedded:shapes-sdxl", "stepps": 3}}, "did you mean steps?"),
        ({"model": {"preset": "flux"}}, "did you mean flux-dev?"),
        ({"model": {"path": "x", "dtype": "bflot16"}}, "did you mean bfloat16?"),
        ({"model": {"path": "x", "negtome": {"grup": 3}}}, "did you mean group?"),
        ({"rewards": {"own": {"kind": "clip", "finetun": {}}}}, "did you mean finetune?"),
        ({"sft": {"train": {"epoch": 3}}}, "did you mean epochs?"),
        ({"sft": {"data": {"kind": "digit"}}}, "did you mean digits?"),
    ],
)  # fmt: skip
def test_the_config_key_that_was_meant_is_named(change, message):
    values = yaml.safe_load((ROOT / "config.yaml").read_text())
    with pytest.raises(BadInput, match=re.escape(message)):
        parse_config({**values, **change})


def long_prompts(folder: Path) -> Path:
    """Two prompts of 300 words that differ in the middle alone, and a short one."""
    words = ["red"] * 300
    prompts = [" ".join([*words[:150], middle, *words[150:]]) for middle in ("blue", "green")]
    (folder / "long.txt").write_text("\n".join([*prompts, "a red circle"]) + "\n")
    return folder / "long.txt"


def test_each_cut_prompt_is_a_plain_line(tmp_path):
    """Once for each prompt and reader, however often it is encoded, whatever -W says."""
    words = [
        *SEARCH, "--steps", "2", "--looks", "", "--keep", "", "--budget-unit", "candidates",
        "--budget", "2",
    ]  # fmt: skip
    words[1] = str(long_prompts(tmp_path))
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "ttsnap", *words], cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    notes = [line for line in run.stderr.splitlines() if "tokens; " in line]
    ends = sorted(line.partition("tokens; ")[2] for line in notes)
    assert ends == ["the model reads the first 32"] * 2 + ["the reward pickscore reads the first 32"] * 2
    assert all(line.startswith("note: prompt 'red red") for line in notes)
    assert "Warning" not in run.stderr and ".py" not in run.stderr


def test_a_library_caller_can_catch_cut_prompts():
    with pytest.warns(CutPrompt, match="has 99 tokens; the model reads the first 77"):
        warn_cut("a" * 99, 99, 77, "the model")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_cut("a" * 77, 77, 77, "the model")
    assert not caught


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"ttsnap {__version__}\n"


def test_the_workflow_needs_no_torch():
    rules = [ROOT / "Snakefile", *(ROOT / "workflow").rglob("*.smk")]
    text = "\n".join(path.read_text() for path in rules)
    lines = re.findall(r"^from ttsnap\S* import (?:\([^)]*\)|.*)", text, re.MULTILINE)
    assert len(lines) > 5
    check = "import sys; assert not {'torch', 'diffusers', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", "\n".join([*lines, check])], check=True, cwd=ROOT)


def test_of_an_option_typed_twice_the_last_counts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.txt").write_text("a\n")
    words = ["--model", "m", "--out", "o.h5", "--candidates", "1", "--candidates", "2"]
    _, options = parse(["generate", "p.txt", *words, "--keep-steps", "1,2", "--keep-steps", "3"])
    assert (options.candidates, options.keep_steps) == (2, [3])
