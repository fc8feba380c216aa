"""The GPUs of a machine, shared out: fake ones, and commands that only say which they were given."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_run import ROOT, command, small_config, write_inputs

from ttsnap.workflow import devices

SMI = '#!/bin/sh\nfor n in {}; do echo "GPU $n: Fake H100 (UUID: GPU-$n)"; done\n'
# Stands for every `python -m ttsnap COMMAND`: says when it ran and on what, and makes the output.
STUB = """#!/bin/bash
case "$2" in ttsnap) ;; *) exec {python} "$@" ;; esac
out=$(echo "$*" | grep -o -- "--out [^ ]*" | cut -d" " -f2)
start=$(date +%s.%N); sleep 0.4
echo "$3 $start $(date +%s.%N) ${{CUDA_VISIBLE_DEVICES-all}}" >> {log}
touch "$out"
"""


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A folder for programs that come first on the path, and locks of our own."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv(devices.SHARED, raising=False)

    def program(name: str, text: str) -> None:
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)

    return program


@pytest.mark.parametrize(
    ("given", "installed", "seen"),
    [
        (None, "0 1 2 3", ["0", "1", "2", "3"]),
        (None, "0", ["0"]),
        (None, None, []),  # a driver that answers nothing
        ("", "0 1", []),
        ("1", "0 1", ["1"]),
        ("0,1,2,3", "", ["0", "1", "2", "3"]),
        ("-1", "0 1", []),
        ("2, 0,-1,1", "0 1 2", ["2", "0"]),
        ("GPU-abc,MIG-1/2", "0", ["GPU-abc", "MIG-1/2"]),
        ("NoDevFiles", "0", []),
    ],
)
def test_which_gpus_there_are(machine, monkeypatch, given, installed, seen):
    machine("nvidia-smi", "#!/bin/sh\nexit 9\n" if installed is None else SMI.format(installed))
    if given is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert devices.visible() == seen


def test_no_driver_is_no_gpu(machine, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert devices.visible() == []


WORDS = ["-m", "ttsnap.workflow.devices"]
SHOW = ["bash", "-c", "echo $CUDA_VISIBLE_DEVICES"]


@pytest.mark.parametrize(
    ("shared", "count", "shown"), [("0,1,2", "2", "0,1"), ("3", "2", "3"), ("0,1", "0", ""), ("GPU-a", "1", "GPU-a")]
)
def test_a_command_sees_its_own_gpus_alone(machine, shared, count, shown):
    env = os.environ | {devices.SHARED: shared}
    run = subprocess.run([sys.executable, *WORDS, count, *SHOW], env=env, capture_output=True, text=True)
    assert (run.returncode, run.stdout.strip()) == (0, shown)


def test_where_nothing_is_shared_out_nothing_is_changed(machine):
    env = os.environ | {"CUDA_VISIBLE_DEVICES": "5,6"}
    run = subprocess.run([sys.executable, *WORDS, "1", *SHOW], env=env, capture_output=True)
    assert run.stdout.decode().strip() == "5,6"


def test_a_gpu_is_free_again_when_its_process_is_killed(machine):
    env = os.environ | {devices.SHARED: "0,1"}
    first = subprocess.Popen(
        [sys.executable, *WORDS, "1", "bash", "-c", "echo $CUDA_VISIBLE_DEVICES; exec sleep 60"],
        env=env, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert first.stdout.readline().strip() == "0"
        run = subprocess.run([sys.executable, *WORDS, "1", *SHOW], env=env, capture_output=True)
        assert run.stdout.decode().strip() == "1"
        both = subprocess.Popen(
            [sys.executable, *WORDS, "2", *SHOW], env=env, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert both.stderr.readline().strip() == "waits for 2 free of the GPUs 0, 1"
        time.sleep(0.5)
        assert both.poll() is None
        first.send_signal(signal.SIGKILL)
        assert both.communicate(timeout=60)[0].strip() == "0,1"
    finally:
        first.kill()
        first.wait()


def test_every_rule_that_wants_a_gpu_is_started_on_its_own():
    found = set()
    for path in (ROOT / "workflow/rules").glob("*.smk"):
        for rule in re.split(r"^(?=rule )", path.read_text(), flags=re.MULTILINE)[1:]:
            if resources := re.search(r"\*\*needs\((.*)\)", rule):
                wants = "gpu=False" not in resources[1]
                shared = "ttsnap.workflow.devices {resources.gpu}" in rule
                assert wants == shared, rule[:40]
                found.add(wants)
    assert found == {True, False}


@pytest.mark.parametrize(
    ("gpus", "words", "at_once", "seen"),
    [
        (0, [], 8, {"all"}),
        (1, [], 1, {"0"}),
        (4, [], 4, {"0", "1", "2", "3"}),
        (4, ["--resources", "gpu=2"], 2, {"0", "1", "2", "3"}),
        (1, ["--resources", "gpu=4"], 1, {"0"}),
        (4, ["--set-resources", "generate:gpu=2"], 2, {"0,1", "2,3", "0,2", "1,3", "0,3", "1,2"}),
        (1, ["--config", "limits={gpu: 0}"], 8, {""}),
    ],
)  # fmt: skip
def test_as_many_gpu_jobs_as_gpus_each_on_its_own(machine, tmp_path, gpus, words, at_once, seen):
    machine("nvidia-smi", SMI.format(" ".join(map(str, range(gpus)))))
    machine("python", STUB.format(python=sys.executable, log=tmp_path / "ran"))
    config = small_config()
    for part in config["prompts"].values():
        part["shard_size"] = 1
    folder = tmp_path / "run"
    write_inputs(folder, config)
    targets = [f"results/images/{part}/{n:04d}.h5" for part in ("train", "test") for n in range(4)]
    line = command(folder, *targets, *words)
    line[line.index("--cores") + 1] = "8"
    run = subprocess.run(line, capture_output=True, text=True, cwd=folder, timeout=600)
    assert run.returncode == 0, run.stderr
    rows = [line.split(" ") for line in Path(tmp_path / "ran").read_text().splitlines()]
    jobs = [(float(start), float(end), on) for what, start, end, on in rows if what == "generate"]
    assert len(jobs) == 8
    for start, _, _ in jobs:
        running = [on.split(",") for begun, end, on in jobs if begun <= start < end]
        assert len(running) <= at_once
        if gpus and at_once < 8:
            held = [gpu for gpu_list in running for gpu in gpu_list]
            assert len(held) == len(set(held))
    assert {on for *_, on in jobs} <= seen


def test_a_cluster_shares_out_its_own(machine, tmp_path):
    """Submitted from a machine without a GPU, jobs ask for one all the same."""
    machine("nvidia-smi", SMI.format(""))
    write_inputs(tmp_path / "run", small_config())
    words = ["--executor", "slurm", "--jobs", "5", "--dry-run", "--printshellcmds", "results/images/test/0000.h5"]
    run = subprocess.run(command(tmp_path / "run", *words), capture_output=True, text=True, cwd=tmp_path / "run")
    assert run.returncode == 0, run.stderr
    assert "ttsnap.workflow.devices 1 python -m ttsnap generate" in run.stdout
