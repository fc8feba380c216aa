"""Text that is not what was written: refused by line, in every format; and one prompt in two sets."""

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
    ("name", "content", "says"),
    [
        ("p.csv", "id,prompt\n1,a red circle, left of a blue square\n", "line 2: 3 fields, but the header has 2"),
        ("p.csv", "prompt\na cat\na red circle, left\n", "line 3: 2 fields"),
        ("p.csv", "id,prompt\n1\n", "line 2: 1 fields"),
        ("p.csv", 'id,prompt\n1,"two\nlines"\n2,"one, ""quoted"""\n3,a,b\n', "line 5: 3 fields"),
        ("p.csv", "id,prompt,prompt\n1,a,b\n", 'two columns "prompt"'),
        ("p.csv", "id,id,prompt\n1,2,b\n", 'two columns "id"'),
        ("p.csv", 'id,prompt\n1,a\n2,"open\n3,b\n', "line 3: not CSV"),
        ("p.csv", 'id,prompt\n1,"a "b" c"\n', "line 2: not CSV"),
        ("p.csv", 'prompt\n "a red circle"\n', "line 2: a quote after a space"),
        ("p.csv", 'id,prompt\n1, "a, b"\n', "line 2: a quote after a space"),
        ("p.csv", 'id, "prompt"\n1,a\n', "line 1: a quote after a space"),
        ("p.csv", "id,Prompt\n1,a\n", 'rename "Prompt" to "prompt"'),
        ("p.csv", "id, prompt\n1,a\n", 'rename " prompt" to "prompt"'),
        ("p.csv", "prompts\na\n", 'rename "prompts" to "prompt"'),
        ("p.csv", "id;prompt\n1;a\n", "parted by semicolons"),
        ("p.csv", "id\tPrompt\n1\ta\n", "parted by tabs"),
        ("p.csv", "id,prompt\n1,a\x85b\n", "line 2: holds the control character U+0085"),
        ("p.jsonl", '{"prompt": "a", "prompt": "b"}', "line 1: not JSON (an object has the key 'prompt' twice"),
        ("p.jsonl", '{"prompt": "a", "n": NaN}', "NaN is no number of JSON"),
        ("p.jsonl", '{"prompt": "a",}', "line 1: not JSON"),
        ("p.jsonl", '{"prompt": null}', 'a text under "prompt"'),
        ("p.jsonl", '{"Prompt": "a"}', 'rename "Prompt" to "prompt"'),
        ("p.jsonl", '{"prompt": "a"}\n{\n"prompt": "b"\n}', "line 2: not JSON"),
        ("p.json", '["a",]', "line 1: not JSON"),
        ("p.json", '["a", null]', "entry 1: null is not a string"),
        ("p.json", '["a", NaN]', "NaN is no number of JSON"),
        ("p.json", '[{"a": 1, "a": 2}]', "the key 'a' twice"),
        ("p.txt", "a\nb\ufeffc\n", "line 2: holds a byte order mark in its midst"),
        ("p.txt", "a\ncaf\ufffd\n", "line 2: holds U+FFFD"),
        ("p.txt", "a\nb\x1b[0m\n", "line 2: holds the control character U+001B"),
        ("p.txt", "a\nb\n".encode("utf-16"), "line 1: not UTF-8 but UTF-16"),
        ("p.json", '["a"]'.encode("utf-16"), "line 1: not UTF-8 but UTF-16"),
        ("p.txt", "a\nb\n".encode("utf-16-le"), "line 1: holds a NUL"),
        ("p.txt", "a\rb\rcaf\u00e9".encode("latin-1"), "line 3: not UTF-8"),
    ],
)  # fmt: skip
def test_a_text_that_would_lose_something_is_refused_by_line(tmp_path, name, content, says):
    path = saved(tmp_path, name, content)
    with pytest.raises(BadInput) as caught:
        read_prompts(path)
    assert str(path) in str(caught.value) and says in str(caught.value)
    assert "\n" not in str(caught.value)


TRICKY = 'say "hi", {x} $HOME `ls` 100 %'


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.txt", "\ufeffa\r\n" + TRICKY + "\r\n日本\u2028猫"),
        ("p.txt", "a\r" + TRICKY + "\r日本\u2028猫\r"),
        ("p.csv", 'prompt\r\na\r\n"' + TRICKY.replace('"', '""') + '"\r\n"日本\u2028猫"'),
        ("p.csv", 'prompt,,\ra,,\r"' + TRICKY.replace('"', '""') + '",1,2\r日本\u2028猫,,'),
        ("p.csv", '\ufeffid,prompt\n\n1,a\n2,"' + TRICKY.replace('"', '""') + '"\n3,日本\u2028猫\n'),
        ("p.json", json.dumps(["a", TRICKY, "日本\u2028猫"])),
        ("p.jsonl", "\r\n".join(json.dumps({"prompt": t}) for t in ("a", TRICKY, "日本\u2028猫"))),
    ],
)  # fmt: skip
def test_what_is_whole_arrives_whole(tmp_path, name, content):
    assert read_prompts(saved(tmp_path, name, content)) == ["a", TRICKY, "日本\u2028猫"]


def test_a_prompt_of_two_lines_stays_one(tmp_path):
    path = saved(tmp_path, "p.csv", 'prompt\n"two\nlines"\n')
    assert read_prompts(path) == ["two\nlines"]


def test_repetitions_are_counted(tmp_path, capsys):
    path = saved(tmp_path, "p.txt", "a\nb\na \n\na\n")
    assert read_prompts(path) == read_prompts(path) == ["a", "b"]
    assert capsys.readouterr().err == f"note: {path}: 2 of 4 prompts repeat an earlier one; left out\n"  # fmt: skip


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
def test_one_prompt_written_in_two_ways_is_one(written, again):
    assert normal_form(written) == normal_form(again)
    assert overlap(["x", written], ["y", again]) == (written, again)


def test_other_prompts_stay_apart():
    assert overlap(["c", "2 + 3", "कि", "?"], ["c++", "2 3", "की", "!"]) is None


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"prompt": "a", "prompt": "b", "image": "a.png"}', "the key 'prompt' twice"),
        ('{"prompt": "caf\ufffd", "image": "a.png"}', '"prompt" holds U+FFFD'),
        ('{"prompt": "a", "image": "a.png", "n": NaN}', "NaN is no number"),
        ('{"prompt": "a", "image": "a\\u0007.png"}', '"image" holds the control character'),
    ],
)
def test_a_pair_that_would_lose_something_is_a_failure(tmp_path, line, says):
    from ttsnap.sft.targets import Failure, pair_targets

    path = saved(tmp_path, "pairs.jsonl", line + "\n")
    (failure,) = pair_targets(path)
    assert isinstance(failure, Failure) and says in failure.error


@pytest.mark.parametrize(("content", "says"), [('{"a": 1, "a": 2}', "'a' twice"), ('{"a": -Infinity}', "-Infinity")])
def test_json_that_is_none_is_refused(tmp_path, content, says):
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
