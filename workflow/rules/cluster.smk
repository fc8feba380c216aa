# What jobs ask a cluster for, and what is looked at before the first one starts
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from snakemake.settings.types import DeploymentMethod

from ttsnap.workflow.devices import SHARED, visible
from ttsnap.workflow.forced import forget

GPU = min(1, CONFIG.limits.gpu)
# Images that one level's training holds at once: those of its step
LEVEL_IMAGES = sum(
    len(prompts) * getattr(CONFIG.prompts, split).candidates
    for split in ("train", "validation")
    for prompts in SHARDS[split]
)
# And the largest number that generation holds, in two copies: all steps of one prompt's candidates
PROMPT_IMAGES = (
    2
    * CONFIG.model.steps
    * max(getattr(CONFIG.prompts, split).candidates for split in SHARDS)
)


def share_gpus(executor):
    """Where jobs run on this machine: no more of them want a GPU at once than there are, and each gets its own."""
    does = executor.common_settings
    # The dry run of a cluster's executor is told by its threads alone.
    submits = does.dryrun_exec and workflow.execution_settings.use_threads
    if submits or not does.local_exec:
        return
    gpus = visible()
    asked = workflow.global_resources.get("gpu")
    asked = getattr(asked, "value", asked)
    workflow.register_resource(
        "gpu", len(gpus) if asked is None else min(asked, len(gpus))
    )
    if gpus:
        os.environ[SHARED] = ",".join(gpus)


def then_execute(execute):
    """Snakemake's own `execute`, which is the first to know who runs the jobs; no hook comes before the DAG is built."""

    def shared(executor_plugin, **settings):
        share_gpus(executor_plugin)
        return execute(executor_plugin=executor_plugin, **settings)

    return shared


if workflow.is_main_process:
    workflow.execute = then_execute(workflow.execute)


def memory(megabytes):
    """A job's memory in MB: more with every attempt, limits.mem_mb at most."""
    return grows(megabytes, CONFIG.limits.mem_mb)


def minutes(runtime):
    """A job's time limit in minutes: more with every attempt, limits.runtime at most."""
    return grows(runtime, CONFIG.limits.runtime)


def grows(first, limit):
    """Resource function: `first` times the attempt, `limit` at most."""
    return lambda wildcards, attempt: min(first * attempt, limit or first * attempt)


def pictures_mb(images):
    """MB that so many images of the model take when they are held at once."""
    return images * CONFIG.model.height * CONFIG.model.width * 3 // 10**6


def check_deployment(methods):
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


check_deployment(workflow.deployment_settings.deployment_method)


def slurm_jobs(folder):
    """Slurm job id → comment («rule_R_wildcards_W»), of the Snakemake jobs of `folder` still in the queue."""
    run = subprocess.run(
        ["squeue", "--me", "--noheader", "--format=%A|%Z|%j|%k"],
        capture_output=True,
        text=True,
    )
    rows = [line.split("|", 3) for line in run.stdout.splitlines()]
    # Snakemake names its jobs by the id of the run.
    named = re.compile(r"(.*_)?[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
    return {
        row[0]: row[3]
        for row in rows
        if len(row) == 4 and row[1] == folder and named.fullmatch(row[2])
    }


def cancel_orphans(jobs, folder):
    """Cancel what a killed Snakemake left in Slurm's queue of the `jobs` that this one is about to run.

    Snakemake's lock says that no other one that lives makes these files. Two jobs must not make one file: the older
    would take the younger's away if it failed.
    """
    if not shutil.which("squeue"):
        return
    ours = {
        "_wildcards_".join(
            [f"rule_{job.name}", *(["_".join(job.wildcards)] if job.wildcards else [])]
        ).replace(os.sep, "_")
        for job in jobs
    }
    for attempt in range(60):
        left = [id for id, comment in slurm_jobs(folder).items() if comment in ours]
        if not left:
            return
        if attempt == 0:
            print(
                f"Cancelling Slurm jobs of a killed run: {' '.join(left)}",
                file=sys.stderr,
            )
            subprocess.run(["scancel", *left])
        time.sleep(1)
    raise WorkflowError(
        f"Slurm jobs {' '.join(left)} of a killed run do not end; see squeue"
    )


def said_by_slurm(began):
    """Slurm's own words on jobs that failed since `began`: killed for memory, at the time limit, by a person."""
    for path in sorted(Path(".snakemake/slurm_logs").rglob("*.log")):
        words = re.findall(
            r"^slurmstepd.*?: error: (.*)$", path.read_text(), re.MULTILINE
        )
        if words and path.stat().st_mtime >= began:
            yield f"Slurm said in {path}: {words[-1]}"


BEGAN = time.time()


onstart:
    cancel_orphans(workflow.dag.needrun_jobs(), os.getcwd())
    forget(workflow.dag.needrun_jobs(), workflow.dag_settings)
