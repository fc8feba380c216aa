"""The config model: good and bad configs, and the pages generated from it."""

import copy
import importlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from small_run import two_rewards

from ttsnap.errors import BadInput
from ttsnap.settings.config import Config, load_config, parse_config
from ttsnap.settings.files import at_fault, read_config, read_parts
from ttsnap.settings.page import reference_page, schema_json
from ttsnap.workflow.checks import check_files


@pytest.fixture
def values():
    return two_rewards()


def changed(values: dict, key: str, value) -> dict:
    """A copy of `values` with the dotted `key` set."""
    out = copy.deepcopy(values)
    at = out
    *path, last = key.split(".")
    for part in path:
        at = at[part]
    at[last] = value
    return out


def test_default_config_is_valid():
    check_files(load_config("config.yaml"))


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("modle", 1, "modle: unknown key"),
        ("model.stpes", 1, "model.stpes: unknown key"),
        ("model.steps", "many", "model.steps: "),
        ("model.steps", 7, "levels: 11 is not before the final step 6"),
        ("levels", [1, 2], "levels: [1, 2] must descend"),
        ("levels", [3, 3], "levels: [3, 3] must descend"),
        ("levels", [-1], "levels.0: "),
        ("rewards", {}, "rewards: "),
        ("rewards.all", {"kind": "pickscore"}, "rewards.all: this name means"),
        ("rewards.pickscore.finetune.lr", -1, "rewards.pickscore.finetune.lr: "),
        ("prompts.test.candidates", 0, "prompts.test.candidates: "),
        ("simulate.schedule", {"steps": [5, 3], "keep": [0.5, 0.5]}, "simulate.schedule: steps [5, 3] must be in"),
        ("simulate.schedule", {"steps": [3], "keep": [0.5, 0.5]}, "one fraction for each look"),
        ("simulate.schedule", {"steps": [3], "keep": [1.5]}, "simulate.schedule.keep.0: "),
        ("simulate.schedule", {"steps": [19], "keep": [0.5]}, "simulate.schedule: step 19 is outside 0..18"),
        ("simulate.accounting", "half", "accounting: 'half' is not one of exact, published, whole"),
        ("simulate.fit_accounting", "half", "simulate.fit_accounting: "),
        ("simulate.fit_share", 1, "simulate.fit_share: "),
        ("simulate.fit_share", 0, "simulate.fit_share: "),
        ("simulate.schedule", "guess", "simulate.schedule"),
        ("simulate.budgets.last", 1, "smaller than first"),
        ("checker", "cats", "checker: "),
        ("search.rewards", ["beauty"], "search.rewards: 'beauty' is not one of the rewards pickscore"),
        ("search.budgets", [4, 4], "search.budgets: [4.0, 4.0] repeats a value"),
        ("search.budgets", [-1], "search.budgets.0: "),
        ("search.budgets", [0.5], "search.budgets: 0.5 candidates; give 1 to 10000"),
        ("search.budgets", [2.0000001, 2], "more than six digits"),
        ("seed", True, "seed: true makes no sense here"),
        ("seed", 2**64, "seed: "),
        ("model.guidance", float("inf"), "model.guidance: "),
        ("model.guidance", float("nan"), "model.guidance: "),
        ("model.steps", 10**9, "model.steps: "),
        ("model.preset", "flux", "preset: 'flux' is not one of flux-dev"),
        ("model.negtome", {"first": 100, "last": 900}, "negtome: first 100 is under last 900"),
        ("prompts.train.candidates", 10**12, "prompts.train.candidates: "),
        ("prompts.test.candidates", 1, "prompts.test.candidates: 1 leaves nothing"),
        ("prompts.test.candidates", 2, "simulate.budgets.first: 3 candidates, but prompts.test"),
        ("prompts.validation.candidates", 2, "budgets.first: 3 candidates, but prompts.validation"),
        ("simulate.draws", 10**12, "simulate.draws: "),
        ("simulate.budgets.step", 1e-9, "simulate.budgets.step: 1e-09 makes more than 1000"),
        ("simulate.budgets", {"first": 0.1, "last": 0.9}, "simulate.budgets.last: 0.9 pays for no"),
        ("rewards.pickscore.finetune.lr", float("inf"), "rewards.pickscore.finetune.lr: "),
    ],
)
def test_a_bad_config_is_refused_in_one_line_with_the_key(values, key, value, says):
    with pytest.raises(BadInput) as caught:
        parse_config(changed(values, key, value), "config.yaml")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("model.path", "", "model.path: : no model_index.json"),
        ("model.path", "docs", "model.path: docs: no model_index.json"),
        ("model.path", "sdxl", "model.path: 'sdxl': no such folder"),
        ("model.path", "models/Hyper-SD15-1step", "ttsnap download --only Hyper-SD15-1step"),
        ("prompts.train.file", "none.txt", "prompts.train.file: none.txt: no such file"),
        ("prompts.validation.limit", 1, "prompts.validation.file: a schedule is fitted"),
        ("rewards.pickscore.kind", "nice", "rewards.pickscore.kind: reward kind 'nice' is unknown"),
        ("rewards.pickscore.kind", "no.such:Class", "rewards.pickscore.kind: there is no module"),
        ("rewards.pickscore.options", {}, "rewards.pickscore.options.path: is missing"),
        ("rewards.pickscore.options.pth", "x", "options.pth: unknown key; pickscore takes path, fit"),
        ("rewards.hps", {"kind": "hpsv2"}, "rewards.hps.options.path: models/HPSv2: no such file"),
    ],
)
def test_files_and_models_of_a_config_are_checked_before_any_job(values, key, value, says):
    with pytest.raises(BadInput) as caught:
        check_files(parse_config(changed(values, key, value)))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_parameters_of_every_reward_match_its_class():
    """`parameters` reads the source without importing it."""
    import inspect

    from ttsnap.rewards.base import load_reward  # noqa: F401  what the classes import is there
    from ttsnap.rewards.registry import KINDS, parameters, reward_target

    for kind in KINDS:
        module, name = reward_target(kind)
        signature = inspect.signature(getattr(importlib.import_module(module), name))
        assert [*parameters(module, name)] == [*signature.parameters, "fit"]


def test_a_reward_set_to_null_is_left_out(values):
    assert list(parse_config(changed(values, "rewards.aesthetic", None)).rewards) == ["pickscore"]


def test_too_many_shards_are_refused(values, tmp_path):
    many = tmp_path / "train.txt"
    many.write_text("".join(f"prompt {n}\n" for n in range(10_001)))
    values = changed(changed(values, "prompts.train.file", str(many)), "checker", None)
    values["prompts"]["train"] |= {"limit": None, "shard_size": 1}
    with pytest.raises(BadInput, match="prompts.train.shard_size: 1 makes more than 10000 shards"):
        check_files(parse_config(values))


def test_missing_key_is_named(values):
    del values["model"]["path"]
    with pytest.raises(BadInput, match=r"model\.path: is missing"):
        parse_config(values)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a red circle\n", "also stands in prompts.train.file"),
        ("a photo of a cat\n", "set checker: null"),
        ("", "no prompt in it"),
        (None, "no such file"),
    ],
)
def test_bad_prompt_files_stop_before_any_job(values, tmp_path, text, says):
    train, test = tmp_path / "train.txt", tmp_path / "test.txt"
    train.write_text("a red circle\n")
    if text is not None:
        test.write_text(text)
    values = changed(changed(values, "prompts.train.file", str(train)), "prompts.test.file", str(test))
    with pytest.raises(BadInput, match=says):
        check_files(parse_config(values))


def test_pages_do_not_drift():
    assert Path("docs/config.md").read_text() == reference_page()
    assert Path("workflow/schemas/config.schema.json").read_text() == schema_json()


def test_the_page_has_each_key_once_in_the_order_of_the_config():
    headings = [line[3:] for line in reference_page().splitlines() if line.startswith("## ")]
    assert headings[:5] == [
        "config.yaml", "model", "model.negtome", "prompts",
        "prompts.train, prompts.validation, prompts.test",
    ]  # fmt: skip
    places = [place for heading in headings[1:] for place in heading.split(", ")]
    assert len(set(places)) == len(places)
    first = list(dict.fromkeys(re.split(r"[.,]", heading)[0] for heading in headings[1:]))
    assert first == [key for key in Config.model_fields if key in first]
    assert {"rewards.NAME.finetune.lora", "sft.train.lora", "simulate.schedule"} <= {*places}


def test_fits_count_whole_survivors_unless_accounting_is_published(values):
    def accounting(**given):
        simulate = parse_config(changed(values, "simulate", given)).simulate
        return simulate.fit_accounting or simulate.accounting

    assert accounting() == accounting(accounting="exact") == "whole"
    assert accounting(accounting="published") == "published"
    assert accounting(accounting="published", fit_accounting="exact") == "exact"
    assert accounting(fit_accounting=None) == "exact"
    assert accounting(fit_accounting="realised") == "realised"


TWICE = {
    "a block": ("seed: 0\nmodel: {path: a}\nlevels: []\nmodel: {steps: 3}\n", 4, "model"),
    "deep": ("rewards:\n  one:\n    kind: clip\n    options: {}\n    kind: hpsv2\n", 5, "kind"),
    "in a list": ("sft:\n  - {a: 1}\n  - {b: 1,\n     b: 2}\n", 4, "b"),
    "behind an anchor": ("x: &x {a: 1}\ny:\n  <<: *x\n  c: 1\n  c: 2\n", 5, "c"),
    "a number": ("lr_at: {5: 1, 5: 2}\n", 1, "5"),
    "in quotes": ("seed: 1\n'seed': 2\n", 2, "seed"),
    "JSON": ('{"seed": 1,\n "seed": 2}', 2, "seed"),
}


@pytest.mark.parametrize("case", TWICE)
def test_a_repeated_key_is_refused(tmp_path, case):
    text, line, key = TWICE[case]
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(BadInput) as caught:
        load_config(path)
    assert str(caught.value).startswith(f"{path}, line {line}: {key} stands twice (also in line ")
    assert "\n" not in str(caught.value)


def test_a_repeated_key_in_json_with_tabs_is_refused(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text('{"model": {\n\t"path": 1,\n\t"path": 2}}')
    with pytest.raises(BadInput, match="mine.json: .*key 'path' twice"):
        load_config(path)


def test_a_merge_key_is_not_a_repetition(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("a: &a {x: 1, y: 1}\nb:\n  <<: *a\n  x: 2\n")
    assert read_config(path)["b"] == {"x": 2, "y": 1}


@pytest.mark.parametrize("text", ["a: [", "a: 2020-13-45", "\ta: 1", "a: 1\n b: 2", "a: " + "[" * 500])
def test_invalid_yaml_is_refused_in_one_line(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(BadInput) as caught:
        load_config(path)
    assert str(caught.value).startswith(f"{path}: cannot be read as YAML")
    assert "\n" not in str(caught.value)


PARTS = [
    ("config.yaml", {"model": {"path": "x", "steps": 20}, "levels": [7, 5], "seed": 1}),
    ("mine.yaml", {"model": {"steps": 5, "stpes": 1}, "rewards": {"new": {"kind": "x"}}}),
    ("--config", {"seed": -1}),
]


@pytest.mark.parametrize(
    ("message", "names"),
    [
        ("model.stpes: unknown key", "mine.yaml"),
        ("model.steps: 5 is bad", "mine.yaml"),
        ("model.path: x: no such folder", "config.yaml"),
        ("rewards.new.options.path: is missing", "mine.yaml"),
        ("seed: too small", "--config"),
        ("levels.1: too small", "config.yaml"),
        ("levels: 7 is not before step 4 (model.steps is 5)", "config.yaml and mine.yaml"),
        ("prompts: is missing", "config.yaml"),
        ("Input should be a table", "config.yaml"),
    ],
)
def test_an_error_is_attributed_to_the_file_with_its_key(message, names):
    assert at_fault(message, PARTS) == names


def test_config_files_are_named_relative_to_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("seed: 1")
    outside = tmp_path.parent / "other.yaml"
    outside.write_text("seed: 2")
    parts = read_parts([tmp_path / "mine.yaml", outside], {"seed": 3})
    names = ["mine.yaml", str(outside), "--config"]
    assert parts == [(name, {"seed": n}) for n, name in enumerate(names, start=1)]
    assert read_parts([], {}) == []


@pytest.mark.parametrize(
    ("text", "words", "says"),
    [
        ("model: {stpes: 3}", [], "mine.yaml: model.stpes: unknown key"),
        ("model: {steps: 5}", [], "config.yaml and mine.yaml: levels: 11 is not before"),
        ("prompts: {test: {file: no.txt}}", [], "mine.yaml: prompts.test.file: no.txt: no such file"),
        ("seed: 1", ["--config", "seed=-1"], "--config: seed: "),
        ("seed: 1\nlevels: [7]\nseed: 2", [], "mine.yaml, line 3: seed stands twice"),
    ],
)
def test_snakemake_names_the_file_at_fault(tmp_path, text, words, says):
    (tmp_path / "mine.yaml").write_text(text)
    shutil.copy("config.yaml", tmp_path)
    shutil.copytree("workflow/prompts", tmp_path / "workflow/prompts")
    line = [sys.executable, "-m", "snakemake", "--snakefile", str(Path("Snakefile").resolve())]
    line += ["--directory", str(tmp_path), "--cores", "1", "--dry-run", "--configfile", "mine.yaml"]
    run = subprocess.run([*line, *words], capture_output=True, text=True, cwd=tmp_path)
    output = run.stdout + run.stderr  # a dry run reports on stdout
    assert run.returncode != 0 and "Traceback" not in output
    assert says in " ".join(output.split())
