"""`ttsnap search`: its images, strips and traces, interrupted runs, bad input."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny
from searching import CLIP, PROMPTS, STEPS, level_files

from ttsnap.cli import main
from ttsnap.storage.prompts import file_name


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """A command line on a tiny model, without --out."""
    folder = tmp_path_factory.mktemp("search")
    (folder / "prompts.txt").write_text("\n".join([*PROMPTS, "a/b: ../c", "x" * 300]) + "\n")
    model = tiny.save(tiny.sdxl(), folder / "model")
    checkpoint = level_files(folder, None)[1]
    return [
        "search", f"{folder}/prompts.txt", "--model", model, "--steps", str(STEPS),
        "--height", "32", "--width", "32", "--batch-size", "2", "--threads", "1", "--dtype", "float32",
        "--kind", "pickscore", "--option", f"path={CLIP}", "--checkpoint", str(checkpoint),
        "--looks", "1,2", "--keep", "0.5,0.5", "--budget", "3", "--budget-unit", "candidates",
    ]  # fmt: skip


def changed(words: list[str], *change: str) -> list[str]:
    """A command line with `change`, which replaces --looks and --keep: lists would add up."""
    for option in {"--looks", "--keep"} & set(change):
        at = words.index(option)
        words = [*words[:at], *words[at + 2 :]]
    return [*words, *change]


def fixed_files(folder: Path) -> dict[str, bytes]:
    """Everything but times."""
    files = {str(p.relative_to(folder)): p for p in folder.rglob("*") if p.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if "seconds" not in name}


def test_command_writes_images_strips_and_traces(words, tmp_path, capsys):
    out = tmp_path / "out"
    assert main([*words, "--out", str(out), "--json", str(tmp_path / "s.json")]) == 0
    error = capsys.readouterr().err
    assert "base reward at step 2: no noise-aware checkpoint" in error
    assert "search: 2 candidates of each of 5 prompts start, 1 finish: " in error
    summary = json.loads((out / "summary.json").read_text())
    assert summary == json.loads((tmp_path / "s.json").read_text())
    assert summary["mean"]["spent_tflop"]["total"] <= summary["budget_tflop"]
    for row in summary["prompts"]:
        trace = json.loads((out / f"traces/{row['file']}.json").read_text())
        assert trace["pick"]["candidate"] == row["candidate"]
        assert [look["weights"]["pickscore"] for look in trace["looks"]] == ["noise_aware", "base", "base"]
        assert (out / f"images/{row['file']}.png").stat().st_size
        assert (out / f"strips/{row['file']}.png").stat().st_size
    parts = json.loads((out / "seconds.json").read_text())["mean"]
    assert set(parts) == {"encode", "denoise", "decode", "reward", "total", "cpu"}


def test_a_killed_run_resumes_with_the_same_bytes(words, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert main([*words, "--out", str(whole)]) == 0
    command = [sys.executable, "-m", "ttsnap", *words, "--out", str(cut)]
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=-3)
    while process.poll() is None and not list(cut.glob("traces/[!.]*.json")):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = {p: p.stat().st_mtime_ns for p in cut.glob("traces/[!.]*.json")}
    assert 0 < len(kept)
    assert main([*words, "--out", str(cut)]) == 0
    assert fixed_files(cut) == fixed_files(whole)
    assert {p: p.stat().st_mtime_ns for p in kept} == kept
    assert [p.name for p in cut.rglob(".*")] == [".ttsnap.json"], "a temporary file was left"
    assert main([*words, "--out", str(cut), "--seed", "1"]) == 2, "other settings, another folder"
    assert fixed_files(cut) == fixed_files(whole)
    other = [*words, "--out", str(cut), "--seed", "1", "--limit", "2", "--replace"]
    assert main(other) == 0
    assert len(list(cut.glob("images/*.png"))) == 2, "nothing of earlier prompts stays"
    assert fixed_files(cut)["summary.json"] != fixed_files(whole)["summary.json"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (["--budget", "0.2"], "budget: 0.2 candidates per prompt is under the"),
        (["--looks", "2,1"], "steps [2, 1] must be in ascending order"),
        (["--looks", "1,9"], "step 9 is outside 0..3"),
        (["--looks", "1,x"], "--looks/--keep: 'x' is neither a step nor a draft; there is none"),
        (["--kind", "pickscroe"], "'pickscroe' is unknown"),
        (["--checkpoint", "none.safetensors"], "none.safetensors: no such file"),
        (["--schedule", "none.json"], "none.json: no such file"),
        (["--model", "/nowhere/model"], "--model: /nowhere/model: no such file or folder"),
        (["--reward", f"{{kind: pickscore, options: {{path: {CLIP}}}}}"], "two rewards are called the same"),
        (["--reward", "{name: red}"], "--reward: kind: is missing; give it"),
        (["--reward", "{kind: clip, option: {path: x}}"], "--reward: option: unknown key; did you mean options?"),
        (["--reward", "{kind: clip, checkpoints: [none]}"], "--reward: checkpoints.0: none: no such file"),
        (["--reward", "{kind: clp}"], "--reward: kind: reward kind 'clp' is unknown"),
        (["--reward", "{kind: clip, options: {pat: x}}"], "--reward: options.pat: unknown key; clip takes path"),
        (["--reward", "{kind: clip"], "--reward: {kind: clip: not YAML"),
        (["--reward", "clip"], "--reward: clip: give {kind: …, options: {…}}"),
        (["--limit", "0"], "--limit: '0' is too small"),
        (["--negtome-group", "2"], "--negtome: a search drops candidates"),
        (["--steps", "0"], "--steps: '0' is too small; give more than 0"),
        (["--seed", "-1"], "--seed: '-1' is too small"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(words, tmp_path, capsys, change, says):
    out = tmp_path / "out"
    assert main(changed(words, "--out", str(out), *change)) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("ttsnap ")]
    assert len(error) == 1 and says in error[0]
    assert not out.exists()


def test_several_rewards_are_combined_by_rank_sum(words, tmp_path):
    """The reward of --kind, then those of --reward, each with checkpoints."""
    first = words[words.index("--checkpoint") + 1]
    more = f"{{kind: pickscore, name: again, options: {{path: {CLIP}}}, checkpoints: [{first}]}}"
    words = [*words, "--name", "pick", "--limit", "1", "--reward", more, "--out", str(tmp_path)]
    assert main([*words, "--budget", "8"]) == 0
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert [reward["name"] for reward in summary["settings"]["rewards"]] == ["pick", "again"]
    assert [list(levels) for levels in summary["settings"]["checkpoints"]] == [["1"], ["1"]]
    (row,) = summary["prompts"]
    assert row["rewards"]["pick"] == row["rewards"]["again"]
    looks = json.loads((tmp_path / f"traces/{row['file']}.json").read_text())["looks"]
    assert looks[0]["weights"] == {"pick": "noise_aware", "again": "noise_aware"}


def test_checkpoints_of_further_rewards_are_inputs(words, tmp_path, capsys):
    """So --out must not hold them, and --method ttsp, which does not read them, refuses them."""
    checkpoint = words[words.index("--checkpoint") + 1]
    more = ["--reward", f"{{kind: pickscore, name: again, checkpoints: [{checkpoint}]}}"]
    assert main([*words, *more, "--out", str(Path(checkpoint).parent)]) == 2
    assert "holds the input" in capsys.readouterr().err
    at = words.index("--checkpoint")
    base = [*words[:at], *words[at + 2 :], "--method", "ttsp", "--out", str(tmp_path / "out")]
    assert main([*base, *more]) == 2
    assert "--reward: checkpoints have no effect with --method ttsp" in capsys.readouterr().err


def test_file_names_are_safe_and_distinct():
    prompts = ["a/b: ../c", "../../etc", "日本", "日本の猫", "A cat!", "a cat", "x" * 300, "", "CON"]
    names = [file_name(prompt) for prompt in prompts]
    assert len({name.lower() for name in names}) == len(prompts)
    assert all(set(n) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") for n in names)
    assert all(len(name) < 60 for name in names)


def test_a_schedule_that_buys_no_more_candidates_is_noted(words, tmp_path, capsys):
    late = changed(words, "--keep", "0.9,0.9", "--limit", "1", "--out")
    assert main([*late, str(tmp_path / "few")]) == 0
    assert "of best-of-N: dropping some can only lose" in capsys.readouterr().err
    options = ["--looks", "0", "--keep", "0.1", "--budget", "8", "--limit", "1", "--out"]
    early = changed(words, *options)
    assert main([*early, str(tmp_path / "more")]) == 0
    assert "can only lose" not in capsys.readouterr().err
