"""Snakemake, and each job that it shows as a line `JOB {"rule": …, "wildcards": {…}}`, whatever its message says.

Run as a script with Snakemake's own words; `planned` runs it and reads the lines.
"""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path


def planned(snakefile: Path, folder: Path, *words: str, **environment: str) -> set[str]:
    """The jobs of a dry run, each as “rule wildcard wildcard …”."""
    flags = ["--snakefile", str(snakefile), "--directory", str(folder), "--cores", "2", "--dry-run"]
    run = subprocess.run(
        [sys.executable, __file__, *flags, *words],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=600,
        env=os.environ | environment,
    )
    assert run.returncode == 0, run.stderr
    lines = [line.removeprefix("JOB ") for line in run.stdout.splitlines() if line.startswith("JOB ")]
    jobs = [json.loads(line) for line in lines]
    return {" ".join([job["rule"], *job["wildcards"].values()]) for job in jobs} - {"all"}


def show(record: logging.LogRecord) -> bool:
    """Print a record that is of a job; a filter, as Snakemake takes away the handlers that it did not add."""
    if hasattr(record, "rule_msg"):
        job = {"rule": record.rule_name, "wildcards": dict(record.wildcards)}
        print("JOB " + json.dumps(job), flush=True)
    return True


if __name__ == "__main__":
    from snakemake.cli import main
    from snakemake.logging import logger

    logger.addFilter(show)
    main(sys.argv[1:])
