"""What jobs ask a machine or a cluster for, and what is looked at before the first one starts."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.settings.types import DeploymentMethod

from ttsnap.settings.sections import Limits
from ttsnap.workflow.devices import SHARED, visible


def asks(limits: Limits, mem_mb: int, minutes: int, gpu: bool = True) -> dict:
    """A rule's resources: memory and time, more with every attempt and the config's limits at most, and a GPU."""

    def growing(first: int, limit: int | None) -> Callable:
        return lambda wildcards, attempt: min(first * attempt, limit or first * attempt)

    wanted = {"mem_mb": growing(mem_mb, limits.mem_mb), "runtime": growing(minutes, limits.runtime)}
    return wanted | ({"gpu": min(1, limits.gpu)} if gpu else {})


def launcher(wildcards, resources) -> str:
    """How a training starts: one process for each GPU the rule got, whatever a person's own accelerate config says."""
    count = int(resources.get("gpu", 1))
    if count < 2:
        return "python -m"
    return (
        f"accelerate launch --multi_gpu --num_processes {count} --num_machines 1 --main_process_port 0"
        " --mixed_precision no --dynamo_backend no -m"
    )


def share_gpus(workflow) -> None:
    """Where jobs run on this machine: no more of them want a GPU at once than there are, and each gets its own.

    Snakemake's own `execute` is the first to know who runs the jobs; no hook comes before the DAG is built.
    """
    execute = workflow.execute

    def shared(executor_plugin, **settings):
        does = executor_plugin.common_settings
        # The dry run of a cluster's executor is told by its threads alone.
        submits = does.dryrun_exec and workflow.execution_settings.use_threads
        if does.local_exec and not submits:
            gpus = visible()
            asked = workflow.global_resources.get("gpu")
            asked = getattr(asked, "value", asked)
            most = len(gpus) if asked is None else min(asked, len(gpus))
            workflow.register_resource("gpu", most)
            if gpus:
                os.environ[SHARED] = ",".join(gpus)
        return execute(executor_plugin=executor_plugin, **settings)

    if workflow.is_main_process:
        workflow.execute = shared


def check_deployment(methods: Iterable[DeploymentMethod]) -> None:
    """Refuse `--sdm conda` and `--sdm env-modules` where they cannot work."""
    if DeploymentMethod.CONDA in methods and not shutil.which("conda"):
        raise WorkflowError(
            "--sdm conda: there is no conda here; install it, or leave the option out"
            " and run in an environment that has ttsnap's requirements"
        )
    if DeploymentMethod.ENV_MODULES in methods:
        has = subprocess.run(["bash", "-c", "type module"], capture_output=True)
        raise WorkflowError(
            "--sdm env-modules: no rule names a module; load yours before snakemake, without the option"
            if has.returncode == 0
            else "--sdm env-modules: there is no `module` command here; leave the option out"
        )


def slurm_jobs(folder: str) -> dict[str, str]:
    """Slurm job id → comment (“rule_R_wildcards_W”), of the Snakemake jobs of `folder` still in the queue."""
    queue = ["squeue", "--me", "--noheader", "--format=%A|%Z|%j|%k"]
    listed = subprocess.run(queue, capture_output=True, text=True).stdout
    rows = [line.split("|", 3) for line in listed.splitlines()]
    # Snakemake names its jobs by the id of the run.
    named = re.compile(r"(.*_)?[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
    return {row[0]: row[3] for row in rows if len(row) == 4 and row[1] == folder and named.fullmatch(row[2])}


def cancel_orphans(jobs: Iterable, folder: str) -> None:
    """Cancel what a killed Snakemake left in Slurm's queue of the `jobs` that this one is about to run.

    Snakemake's lock says that no other one that lives makes these files. Two jobs must not make one file: the older
    would take the younger's away if it failed.
    """
    if not shutil.which("squeue"):
        return
    comments = {
        "_wildcards_".join([f"rule_{job.name}", *(["_".join(job.wildcards)] if job.wildcards else [])]).replace(
            os.sep, "_"
        )
        for job in jobs
    }
    for attempt in range(60):
        left = [number for number, text in slurm_jobs(folder).items() if text in comments]
        if not left:
            return
        if attempt == 0:
            print(f"Cancelling Slurm jobs of a killed run: {' '.join(left)}", file=sys.stderr)
            subprocess.run(["scancel", *left])
        time.sleep(1)
    raise WorkflowError(f"Slurm jobs {' '.join(left)} of a killed run do not end; see squeue")


def explain_failure(began: float) -> None:
    """Print where the logs of a failed job are, what Slurm reported since `began`, and whether the disk is full."""
    print(
        "\nA job failed. Its own words are in the file named under “log:” above, below results/logs/;"
        " Slurm's, if it ran there, below .snakemake/slurm_logs/"
    )
    print(*slurm_errors(Path(".snakemake/slurm_logs"), began), sep="\n")
    if os.path.exists("results") and shutil.disk_usage("results").free < 100 << 20:
        print("The disk is full: make room, then run the same command again.")


def slurm_errors(folder: Path, began: float) -> Iterator[str]:
    """What Slurm wrote of jobs that failed since `began`: killed for memory, at the time limit, by a person."""
    for path in sorted(folder.rglob("*.log")):
        errors = re.findall(r"^slurmstepd.*?: error: (.*)$", path.read_text(), re.MULTILINE)
        if errors and path.stat().st_mtime >= began:
            yield f"Slurm said in {path}: {errors[-1]}"
