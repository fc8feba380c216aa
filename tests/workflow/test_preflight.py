"""What is refused, or told, before or when something cannot work: one line each."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from small_run import command, small_config, snakemake, wait_for_job, write_inputs

TARGET = "results/shards/test/0000.jsonl"


def path_without(*names: str) -> str:
    """PATH without the folders that have these commands."""
    folders = os.environ["PATH"].split(os.pathsep)
    return os.pathsep.join(f for f in folders if not any(shutil.which(n, path=f) for n in names))


@pytest.mark.parametrize("method, says", [("conda", "no conda here"), ("env-modules", "`module`")])
def test_a_deployment_that_cannot_work_is_refused(tmp_path, method, says):
    write_inputs(tmp_path, small_config())
    path = f"{Path(sys.executable).parent}{os.pathsep}{path_without('conda')}"
    run = subprocess.run(
        command(tmp_path, TARGET, "--sdm", method),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={k: v for k, v in os.environ.items() if "module" not in k} | {"PATH": path},
    )
    assert run.returncode != 0
    assert f"--sdm {method}: " in run.stderr and says in run.stderr
    assert "Traceback" not in run.stderr and not (tmp_path / TARGET).exists()


@pytest.mark.skipif(os.getuid() != 0, reason="mounting a tiny disk needs root")
@pytest.mark.parametrize("how, says", [("ro,size=9m", "Read-only file system"), ("size=1m", "is full; make room")])
def test_results_that_cannot_be_written(tmp_path, how, says):
    write_inputs(tmp_path, small_config())
    (tmp_path / "results").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", how, "tmpfs", str(tmp_path / "results")]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        run = snakemake(tmp_path, TARGET)
        assert run.returncode != 0
        assert says in run.stderr and "Traceback" not in run.stderr
        assert not list((tmp_path / "results").rglob("*.jsonl"))
    finally:
        subprocess.run(["umount", "-l", str(tmp_path / "results")], check=True)
    assert snakemake(tmp_path, TARGET).returncode == 0


def test_the_second_of_two_snakemakes_is_told(tmp_path):
    write_inputs(tmp_path, small_config())
    words = command(tmp_path, "results/images/test/0000.h5")
    first = subprocess.Popen(
        words, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        wait_for_job("generate", tmp_path)
        second = snakemake(tmp_path, "results/images/test/0000.h5")
        assert second.returncode != 0
        assert "Directory cannot be locked" in second.stderr
        assert "Traceback" not in second.stderr
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
