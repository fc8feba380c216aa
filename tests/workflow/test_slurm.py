"""`snakemake --profile slurm` on a real Slurm, started here: a whole run, and what a cluster does to one."""

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import slurm_cluster
from slurm_runs import Run, bytes_of, checkout
from small_run import wait_for_job

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(bool(slurm_cluster.missing()), reason=slurm_cluster.missing() or "-"),
]
FINETUNE = "results/levels/pickscore/2.safetensors"
LABEL = "results/labels/train/0000/pickscore.h5"
ALIGN = "results/alignment/test.pickscore.json"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A Slurm of one node with two gpus."""
    cluster = slurm_cluster.Cluster(tmp_path_factory.mktemp("slurm"))
    cluster.start()
    yield cluster
    cluster.stop()


def on_slurm(folder: Path, cluster, *words: str) -> Run:
    return Run(folder, cluster.env, "--profile", "slurm", *words)


def finish(run: Run) -> None:
    assert run.wait() == 0, run.text()[-3000:]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The same run on this machine, without Slurm."""
    folder = checkout(tmp_path_factory.mktemp("local") / "checkout")
    finish(Run(folder, dict(os.environ), "--cores", "2"))
    return folder


@pytest.fixture
def copied(undisturbed, tmp_path):
    """A copy of the finished checkout, times kept."""
    return Path(shutil.copytree(undisturbed, tmp_path / "checkout", symlinks=True))


def running(cluster, rule: str) -> dict:
    """The Slurm job of a rule, once it runs."""
    for _ in range(6000):
        for job in cluster.jobs(JobState="RUNNING"):
            if job.get("Comment", "").startswith(f"rule_{rule}_"):
                return job
        time.sleep(0.2)
    raise AssertionError(f"Slurm does not run {rule}")


def restarted(cluster, job: str, times: int) -> None:
    """Wait until Slurm has started a job again, for the `times`-th time."""
    for _ in range(1500):
        if cluster.jobs(JobId=job, JobState="RUNNING", Restarts=str(times)):
            return
        time.sleep(0.2)
    raise AssertionError(f"Slurm does not start job {job} again")


def jobs_in(cluster, folder: Path) -> list[dict]:
    """The jobs of one checkout, in the order of their submission."""
    return sorted(cluster.jobs(WorkDir=str(folder)), key=lambda job: int(job["JobId"]))


def environment(process: int) -> dict[str, str]:
    """The environment of a process; it is empty for a moment while the process starts."""
    for _ in range(50):
        if words := Path(f"/proc/{process}/environ").read_bytes().decode().split("\0")[:-1]:
            return dict(word.split("=", 1) for word in words if "=" in word)
        time.sleep(0.1)
    raise AssertionError(f"process {process} has no environment")


def test_the_whole_workflow(cluster, undisturbed, tmp_path):
    """All as typed; gpus where rules ask for them; the same bytes as without Slurm."""
    folder = checkout(tmp_path / "checkout")
    run = on_slurm(folder, cluster)
    gpu = environment(wait_for_job("generate", folder)).get("CUDA_VISIBLE_DEVICES")
    finish(run)
    assert gpu in ("0", "1")
    assert bytes_of(folder) == bytes_of(undisturbed)
    jobs = jobs_in(cluster, folder)
    assert len(jobs) > 25 and {job["JobState"] for job in jobs} == {"COMPLETED"}
    for job in jobs:
        wants = re.match("rule_(draft|generate|label|score|finetune|search)", job["Comment"]) is not None
        assert job.get("TresPerJob") == ("gres:gpu:1" if wants else None), job["Comment"]
    by_rule = {re.match("rule_([a-z]+)", job["Comment"])[1]: job for job in jobs}
    assert by_rule["label"]["MinMemoryNode"] == "8000M"
    assert by_rule["generate"]["TimeLimit"] == "04:00:00"
    assert by_rule["shard"]["TimeLimit"] == "00:05:00"


def test_a_cancelled_job_is_tried_again_with_more_and_up_to_the_limit(cluster, copied):
    (copied / ALIGN).unlink()
    run = on_slurm(copied, cluster, ALIGN, "--config", "limits={mem_mb: 10000, runtime: 45}")
    for _ in range(2):
        job = running(cluster, "align")
        subprocess.run(["scancel", job["JobId"]], env=cluster.env, check=True)
        while job["JobId"] in [j["JobId"] for j in cluster.jobs(JobState="RUNNING")]:
            time.sleep(0.2)
    finish(run)
    asked = [(job["MinMemoryNode"], job["TimeLimit"]) for job in jobs_in(cluster, copied)]
    assert asked == [("4000M", "00:30:00"), ("8000M", "00:45:00"), ("10000M", "00:45:00")]


def test_a_job_over_its_memory_is_killed_and_gets_more(cluster, copied):
    (copied / ALIGN).unlink()
    finish(on_slurm(copied, cluster, ALIGN, "--set-resources", "align:mem_mb=30+1970*(attempt-1)"))
    first, second = jobs_in(cluster, copied)
    assert (first["MinMemoryNode"], second["MinMemoryNode"]) == ("30M", "2000M")
    assert first["JobState"] != "COMPLETED" and second["JobState"] == "COMPLETED"


def test_what_slurm_said_is_shown_at_the_end(cluster, copied):
    (copied / ALIGN).unlink()
    run = on_slurm(copied, cluster, ALIGN, "--set-resources", "align:mem_mb=30", "--retries", "0")
    assert run.wait() != 0
    assert re.search(r"Slurm said in .*align.*memory limit", run.text())


def test_a_failed_job_says_where_its_logs_are(cluster, copied):
    tensor = copied / "results/tensors/test.pickscore.h5"
    times = tensor.stat()
    tensor.write_bytes(b"broken")
    os.utime(tensor, ns=(times.st_atime_ns, times.st_mtime_ns))
    (copied / ALIGN).unlink()
    run = on_slurm(copied, cluster, ALIGN, "--retries", "0")
    assert run.wait() != 0
    assert "log: results/logs/align/test.pickscore.log" in run.text()
    assert ".snakemake/slurm_logs/rule_align/test_pickscore/" in run.text()
    assert "ttsnap align: results/tensors/test.pickscore.h5" in run.text(), "its own words"
    assert not (copied / ALIGN).exists()


def test_partition_and_account_are_taken(cluster, copied):
    target = "results/shards/test/0000.jsonl"
    (copied / target).unlink()
    words = ["--default-resources", "slurm_partition=short", "slurm_account=lab"]
    finish(on_slurm(copied, cluster, target, *words))
    [job] = jobs_in(cluster, copied)
    assert (job["Partition"], job["Account"]) == ("short", "lab")


def test_without_gpus_none_is_asked_for(cluster, copied):
    (copied / LABEL).unlink()
    finish(on_slurm(copied, cluster, LABEL, "--config", "limits={gpu: 0}"))
    assert "TresPerJob" not in jobs_in(cluster, copied)[-1]


def state_saved(folder: Path) -> None:
    """Wait until the training has saved its progress."""
    for _ in range(1200):
        if list((folder / "results/state/finetune").glob("[!.]*")):
            return
        time.sleep(0.1)
    raise AssertionError("no progress was saved")


def test_a_job_goes_on_after_a_requeue_and_after_its_node_died(cluster, undisturbed, copied):
    """Both in one run, for Slurm lets a job wait before it starts it again: each time from the saved progress."""
    (copied / FINETUNE).unlink()
    run = on_slurm(copied, cluster, FINETUNE)
    job = running(cluster, "finetune")
    state_saved(copied)
    subprocess.run(["scontrol", "requeue", job["JobId"]], env=cluster.env, check=True)
    restarted(cluster, job["JobId"], 1)
    wait_for_job("finetune", copied)
    cluster.kill_slurmd()
    cluster.wait_for_node("down")
    cluster.start_slurmd()
    cluster.wait_for_node("idle")
    finish(run)
    assert (copied / FINETUNE).read_bytes() == (undisturbed / FINETUNE).read_bytes()
    assert "goes on after update" in (copied / "results/logs/finetune/pickscore/2.log").read_text()
    [job] = jobs_in(cluster, copied)
    assert job["Restarts"] == "2"


def test_orphans_of_a_killed_snakemake_are_cancelled(cluster, undisturbed, copied):
    """Its Slurm job runs on; a second Snakemake must be told, and after --unlock must not run beside it."""
    (copied / FINETUNE).unlink()
    run = on_slurm(copied, cluster, FINETUNE)
    orphan = running(cluster, "finetune")
    state_saved(copied)
    os.kill(wait_for_job("finetune", copied), signal.SIGSTOP)  # so that it outlives what follows
    second = Run(copied, cluster.env, "--profile", "slurm", FINETUNE)
    assert second.wait() != 0
    assert "Directory cannot be locked" in second.text() and "Traceback" not in second.text()
    run.kill()
    assert cluster.states()[orphan["JobId"]] == "RUNNING"
    finish(Run(copied, cluster.env, "--unlock"))
    rerun = on_slurm(copied, cluster, FINETUNE)
    finish(rerun)
    assert f"Cancelling Slurm jobs of a killed run: {orphan['JobId']}" in rerun.text()
    assert cluster.states()[orphan["JobId"]] == "CANCELLED"
    assert (copied / FINETUNE).read_bytes() == (undisturbed / FINETUNE).read_bytes()
