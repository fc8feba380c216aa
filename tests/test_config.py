"""The config model: good and bad configs, and the pages made from it."""

import copy
from pathlib import Path

import pytest
import yaml

from ttsnap.config import load_config, parse_config
from ttsnap.config_page import reference_page, schema_json
from ttsnap.errors import BadInput


@pytest.fixture
def values():
    return yaml.safe_load(Path("config.yaml").read_text())


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
    load_config("config.yaml").check_files()


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("modle", 1, "modle: unknown key"),
        ("model.stpes", 1, "model.stpes: unknown key"),
        ("model.steps", "many", "model.steps: "),
        ("model.steps", 10, "levels: 9 is not before the final step 9"),
        ("levels", [1, 2], "levels: [1, 2] must descend"),
        ("levels", [3, 3], "levels: [3, 3] must descend"),
        ("levels", [-1], "levels.0: "),
        ("rewards", {}, "rewards: "),
        ("rewards.all", {"kind": "pickscore"}, "rewards.all: this name means"),
        ("rewards.pickscore.finetune.lr", -1, "rewards.pickscore.finetune.lr: "),
        ("prompts.test.candidates", 0, "prompts.test.candidates: "),
        ("simulate.schedule", {"steps": [5, 3], "keep": [0.5, 0.5]}, "must ascend"),
        ("simulate.schedule", {"steps": [3], "keep": [0.5, 0.5]}, "one α a step"),
        ("simulate.schedule", {"steps": [3], "keep": [1.5]}, "simulate.schedule.keep.0: "),
        ("simulate.schedule", {"steps": [19], "keep": [0.5]}, "not before the final step"),
        ("simulate.schedule", "guess", "simulate.schedule"),
        ("simulate.budgets.last", 1, "smaller than first"),
        ("checker", "cats", "checker: "),
        ("search.rewards", ["beauty"], "search.rewards: 'beauty' is none of the rewards pickscore"),
        ("search.budgets", [4, 4], "search.budgets: one stands twice"),
        ("search.budgets", [-1], "search.budgets.0: "),
    ],
)
def test_bad_config_is_one_line_with_the_key(values, key, value, says):
    with pytest.raises(BadInput) as caught:
        parse_config(changed(values, key, value), "config.yaml")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


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
        (None, "cannot be read"),
    ],
)
def test_bad_prompt_files_stop_before_any_job(values, tmp_path, text, says):
    train, test = tmp_path / "train.txt", tmp_path / "test.txt"
    train.write_text("a red circle\n")
    if text is not None:
        test.write_text(text)
    values = changed(
        changed(values, "prompts.train.file", str(train)), "prompts.test.file", str(test)
    )
    with pytest.raises(BadInput, match=says):
        parse_config(values).check_files()


def test_pages_do_not_drift():
    assert Path("docs/config.md").read_text() == reference_page()
    assert Path("workflow/schemas/config.schema.json").read_text() == schema_json()
