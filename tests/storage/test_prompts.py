"""Prompt files of every format, and bad ones."""

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
    ],
)
def test_bad_files_are_named_in_one_line(tmp_path, name, content, says):
    path = write(tmp_path, name, content)
    with pytest.raises(BadInput) as caught:
        read_prompts(path)
    assert str(path) in str(caught.value) and says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_prompts_added_at_the_end_keep_earlier_shards():
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
