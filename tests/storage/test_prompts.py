"""Prompt files of every format, good and bad."""

import json
from pathlib import Path

import pytest

from ttsnap.cli import main
from ttsnap.errors import BadInput
from ttsnap.storage.prompts import read_prompts, shards

TEXTS = ['a "quoted", cat', "日本の猫 🐱", "tail\u2028kept", "x" * 10_000]


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def contents():
    rows = ['"' + t.replace('"', '""') + '"' for t in TEXTS]
    return {
        "p.txt": "\ufeff" + "\r\n".join([*TEXTS, "", "  ", TEXTS[0] + "  "]) + "\n",
        "p.json": json.dumps([*TEXTS, "", TEXTS[1]]),
        "p.jsonl": "\n".join(json.dumps({"prompt": t, "id": 3}) for t in TEXTS) + "\n\n",
        "p.csv": "id,prompt\n" + "".join(f"{i},{r}\n" for i, r in enumerate(rows)),
    }


@pytest.mark.parametrize("name", contents())
def test_formats_give_the_same_prompts(tmp_path, name):
    assert read_prompts(write(tmp_path, name, contents()[name])) == TEXTS


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("p.txt", "", "no prompt in it"),
        ("p.txt", " \n\n", "no prompt in it"),
        ("p.txt", b"ok\n\xff\xfe\n", "line 2: not UTF-8"),
        ("p.txt", "a\0b", "line 1: holds a NUL"),
        ("p.jsonl", '{"prompt": "a \\ud800"}', "line 1: holds a NUL or half a surrogate"),
        ("p.json", "{}", "list of strings"),
        ("p.json", "[" * 100_000, "nested too deep"),
        ("p.json", '["\\ud800"]', "entry 0: holds a NUL or half a surrogate"),
        ("p.json", '["a", 3]', "entry 1"),
        ("p.json", '["a"', "not JSON"),
        ("p.json", "", "no prompt in it"),
        ("p.jsonl", '{"text": "a"}', 'under "prompt"'),
        ("p.jsonl", "{", "line 1: not JSON"),
        ("p.csv", "text\na\n", 'no column "prompt"'),
        ("p.csv", "", "no prompt in it"),
        ("p.yaml", "- a", "prompts come as"),
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
        ("p.csv", "id;prompt\n1;a\n", "separated by semicolons"),
        ("p.csv", "id\tPrompt\n1\ta\n", "separated by tabs"),
        ("p.csv", "id,prompt\n1,a\x85b\n", "line 2: holds the control character U+0085"),
        ("p.jsonl", '{"prompt": "a", "prompt": "b"}', "line 1: not JSON (an object has the key 'prompt' twice"),
        ("p.jsonl", '{"prompt": "a", "n": NaN}', "NaN is not a JSON number"),
        ("p.jsonl", '{"prompt": "a",}', "line 1: not JSON"),
        ("p.jsonl", '{"prompt": null}', 'a text under "prompt"'),
        ("p.jsonl", '{"Prompt": "a"}', 'rename "Prompt" to "prompt"'),
        ("p.jsonl", '{"prompt": "a"}\n{\n"prompt": "b"\n}', "line 2: not JSON"),
        ("p.json", '["a",]', "line 1: not JSON"),
        ("p.json", '["a", null]', "entry 1: null is not a string"),
        ("p.json", '["a", NaN]', "NaN is not a JSON number"),
        ("p.json", '[{"a": 1, "a": 2}]', "the key 'a' twice"),
        ("p.txt", "a\nb\ufeffc\n", "line 2: holds a byte order mark in the middle"),
        ("p.txt", "a\ncaf\ufffd\n", "line 2: holds U+FFFD"),
        ("p.txt", "a\nb\x1b[0m\n", "line 2: holds the control character U+001B"),
        ("p.txt", "a\nb\n".encode("utf-16"), "line 1: not UTF-8 but UTF-16"),
        ("p.json", '["a"]'.encode("utf-16"), "line 1: not UTF-8 but UTF-16"),
        ("p.txt", "a\nb\n".encode("utf-16-le"), "line 1: holds a NUL"),
        ("p.txt", "a\rb\rcaf\u00e9".encode("latin-1"), "line 3: not UTF-8"),
    ],
)  # fmt: skip
def test_a_bad_file_is_refused_in_one_line_naming_it(tmp_path, name, content, says):
    path = write(tmp_path, name, content)
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
def test_unusual_characters_survive(tmp_path, name, content):
    assert read_prompts(write(tmp_path, name, content)) == ["a", TRICKY, "日本\u2028猫"]


def test_a_prompt_of_two_lines_stays_one(tmp_path):
    path = write(tmp_path, "p.csv", 'prompt\n"two\nlines"\n')
    assert read_prompts(path) == ["two\nlines"]


def test_repetitions_are_counted(tmp_path, capsys):
    path = write(tmp_path, "p.txt", "a\nb\na \n\na\n")
    assert read_prompts(path) == read_prompts(path) == ["a", "b"]
    assert capsys.readouterr().err == f"note: {path}: 2 of 4 prompts repeat an earlier one; left out\n"  # fmt: skip


def test_appended_prompts_leave_full_shards_unchanged():
    before, after = (shards([f"p{i}" for i in range(32)], 16), shards([f"p{i}" for i in range(42)], 16))
    assert after[:2] == before and len(after) == 3


def test_shard_command(tmp_path, capsys):
    path = write(tmp_path, "p.txt", "a\nb\nc\n")
    out = tmp_path / "s.jsonl"
    assert main(["shard", str(path), "--size", "2", "--shard", "1", "--out", str(out)]) == 0
    assert read_prompts(out) == ["c"]
    for wrong in (["--shard", "2"], ["--limit", "0"], ["--limit", "-1"]):
        assert main(["shard", str(path), "--size", "2", *wrong, "--out", str(out)]) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_published_prompts():
    path = Path("../shared/published/prompts_validation.json")
    if not path.exists():
        pytest.skip("the published prompts are not beside this checkout")
    assert len(read_prompts(path)) == len({p.strip() for p in json.loads(path.read_text())})
