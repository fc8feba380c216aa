"""What a stage keeps of its last run, to be taken away when a person forces the stage to run again.

Snakemake deletes the declared outputs of a job before it runs; what lies beside them, so that a run that was cut off
goes on, would else give the old result back.
"""

import glob
import os
from collections.abc import Iterable
from pathlib import Path

# rule: what it keeps, as patterns; {name} is a wildcard of the rule.
KEPT = {
    "generate": ("results/state/images/{split}.{shard}.*.h5",),
    "finetune": ("results/state/finetune/{reward}.{level}.pt",),
    "search": tuple(
        f"results/searches/{{reward}}/{{search_method}}/{{budget}}/{{shard}}/{part}"
        for part in ("traces/*.json", "measured.json")
    ),
    "assign": ("results/sft/runs/{seed}/assigned/{cycle}/{shard}/blocks/*.safetensors",),
    "probe": ("results/sft/runs/{seed}/probe/{way}.{cycle}/{part}/blocks/*.safetensors",),
    "sft_train": ("results/state/sft/{seed}.{way}.{cycle}.pt",),
}


def kept_files(rule: str, wildcards: dict[str, str]) -> list[Path]:
    """The files that a job of a rule would go on from."""
    quoted = {name: glob.escape(value) for name, value in wildcards.items()}
    patterns = [pattern.format(**quoted) for pattern in KEPT.get(rule, ())]
    return sorted(Path(path) for pattern in patterns for path in glob.glob(pattern))


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
    files = [path for job in forced for path in kept_files(job.rule.name, dict(job.wildcards_dict))]
    for path in files:
        path.unlink(missing_ok=True)
    return files
