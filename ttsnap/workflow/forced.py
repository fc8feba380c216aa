"""What a stage keeps of its last run, to be taken away when a person forces the stage to run again.

Snakemake deletes the declared outputs of a job before it runs; what lies beside them, so that a run that was cut off
goes on, would else give the old result back.
"""

import glob
import os
from collections.abc import Iterable
from pathlib import Path

# rule: where it keeps its state; {name} is a wildcard of the rule.
STATES = {
    "generate": "results/state/images/{split}.{shard}",
    "draft": "results/state/drafts/{split}.{shard}",
    "finetune": "results/state/finetune/{reward}.{level}.pt",
    "sft_train": "results/state/sft/{seed}.{way}.{cycle}.pt",
}
# rule: what lies beside its first output, as patterns.
BESIDE = {
    "search": ("traces/*.json", "measured.json"),
    "assign": ("blocks/*.safetensors",),
    "probe": ("blocks/*.safetensors",),
}


def kept_files(job) -> list[Path]:
    """The files that a job (with `rule.name`, `wildcards_dict` and `output`) would go on from."""
    state, found = STATES.get(job.rule.name), []
    if state:
        quoted = {name: glob.escape(value) for name, value in dict(job.wildcards_dict).items()}
        state = state.format(**quoted)
        found = glob.glob(state) + glob.glob(f"{state}.*.h5")
    for pattern in BESIDE.get(job.rule.name, ()):
        found += glob.glob(f"{glob.escape(os.path.dirname(job.output[0]))}/{pattern}")
    return sorted(map(Path, found))


def is_forced(job, settings) -> bool:
    """Whether a person told Snakemake to run this very job again: --forceall, --forcerun, --force.

    job: with `rule.name` and `output`; settings: Snakemake's DAGSettings. Jobs that run because another one did, and
    those that a killed run left incomplete, are not forced: they go on where they were.
    """
    if settings.forceall:
        return True
    named = set(settings.forcerun) | (set(settings.targets) if settings.forcetargets else set())
    paths = {os.path.abspath(path) for path in job.output}
    return job.rule.name in named or any(os.path.abspath(name) in paths for name in named)


def forget(jobs: Iterable, settings) -> list[Path]:
    """Delete what the forced ones of `jobs` would go on from; the files deleted."""
    forced = [job for job in jobs if is_forced(job, settings)]
    files = [path for job in forced for path in kept_files(job)]
    for path in files:
        path.unlink(missing_ok=True)
    return files
