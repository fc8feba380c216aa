"""Prompts that count as equal, in two sets; and damaged text in pairs and JSON."""

import json
from pathlib import Path

import pytest

from ttsnap.errors import BadInput
from ttsnap.settings.config import parse_config
from ttsnap.storage.files import read_json
from ttsnap.storage.prompts import normal_form, overlap, read_prompts
from ttsnap.workflow.checks import check_files


def saved(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("written", "again"),
    [
        ("a red circle", "A Red  CIRCLE"),
        ("a red circle", "a red circle."),
        ("a red circle", "a\u00a0red\tcircle"),
        ("a red circle", "a red\u200b circle"),
        ("caf\u00e9", "cafe\u0301"),
        ("the \u201cred\u201d dog\u2019s", "the \"red\" dog's"),
        ("straße", "STRASSE"),
        ("two\nlines", "two lines"),
        ("ﬁne", "fine"),
    ],
)  # fmt: skip
def test_two_spellings_of_a_prompt_are_equal(written, again):
    assert normal_form(written) == normal_form(again)
    assert overlap(["x", written], ["y", again]) == (written, again)


def test_other_prompts_stay_apart():
    assert overlap(["c", "2 + 3", "कि", "?"], ["c++", "2 3", "की", "!"]) is None


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"prompt": "a", "prompt": "b", "image": "a.png"}', "the key 'prompt' twice"),
        ('{"prompt": "caf\ufffd", "image": "a.png"}', '"prompt" holds U+FFFD'),
        ('{"prompt": "a", "image": "a.png", "n": NaN}', "NaN is not a JSON number"),
        ('{"prompt": "a", "image": "a\\u0007.png"}', '"image" holds the control character'),
    ],
)
def test_a_pair_with_damaged_text_is_a_failure(tmp_path, line, says):
    from ttsnap.sft.targets import Failure, pair_targets

    path = saved(tmp_path, "pairs.jsonl", line + "\n")
    (failure,) = pair_targets(path)
    assert isinstance(failure, Failure) and says in failure.error


@pytest.mark.parametrize(("content", "says"), [('{"a": 1, "a": 2}', "'a' twice"), ('{"a": -Infinity}', "-Infinity")])
def test_invalid_json_is_refused(tmp_path, content, says):
    with pytest.raises(BadInput, match=says):
        read_json(saved(tmp_path, "x.json", content))


@pytest.fixture
def values():
    import yaml

    values = yaml.safe_load(Path("config.yaml").read_text())
    return values


@pytest.mark.parametrize("change", [str.upper, lambda p: p + ".", lambda p: p.replace(" ", "\u00a0"), lambda p: p])
def test_a_prompt_in_two_sets_is_refused_however_it_is_written(tmp_path, values, change):
    train = read_prompts(values["prompts"]["train"]["file"])
    again = change(train[0])
    values["checker"] = None
    values["prompts"]["validation"]["file"] = str(saved(tmp_path, "v.txt", f"a cat\n{again}\n"))
    with pytest.raises(BadInput, match=r"prompts.validation.file: .* in prompts.train.file") as bad:
        check_files(parse_config(values))
    assert repr(again)[:50] in str(bad.value)
    assert again == train[0] or repr(train[0])[:50] in str(bad.value)


@pytest.mark.parametrize(
    ("test_line", "leaks"),
    [
        ({"prompt": "a", "image": "0.png"}, True),  # the same file
        ({"prompt": "b", "image": "copy.png"}, True),  # the same image
        ({"prompt": "a", "image": "1.png"}, False),
    ],
)
def test_held_out_pairs_are_held_out(tmp_path, values, test_line, leaks):
    for name, content in {"0.png": b"same", "copy.png": b"same", "1.png": b"else"}.items():
        saved(tmp_path, name, content)
    files = {}
    for key, line in (("file", {"prompt": "a", "image": "0.png"}), ("test_file", test_line)):
        files[key] = str(saved(tmp_path, f"{key}.jsonl", json.dumps(line) + "\n"))
    values["sft"] = {"model": "embedded:shapes-onestep", "features": "embedded:shapes-clip"}
    values["sft"]["data"] = {"kind": "pairs", **files}
    if leaks:
        with pytest.raises(BadInput, match=r"sft.data.test_file: .* is also the training image"):
            check_files(parse_config(values))
    else:
        check_files(parse_config(values))
