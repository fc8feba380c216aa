"""The GPUs of this machine, shared out among jobs.

`python -m ttsnap.workflow.devices COUNT COMMAND …` runs a command on GPUs of its own; the workflow's rules start their
GPU jobs so. Where Snakemake runs jobs on this machine, it names the GPUs to share in TTSNAP_GPUS; without that, on a
cluster for instance, which shares out its own, the command just runs.

A GPU is taken by a lock on a file, which ends with the last process that has it open, however it ends.
"""

import fcntl
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SHARED = "TTSNAP_GPUS"


def visible() -> list[str]:
    """The GPUs that a process may use, as CUDA_VISIBLE_DEVICES names them; torch is not asked, it takes seconds."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is None:
        return _installed()
    found = []
    for name in map(str.strip, given.split(",")):
        if not re.fullmatch(r"\d+|(GPU|MIG)-.+", name) or name in found:
            break  # as CUDA does: what follows is not seen
        found.append(name)
    return found


def _installed() -> list[str]:
    """The numbers of all GPUs, by the driver's own tool; none where there is no such tool."""
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return re.findall(r"^GPU (\d+):", listed.stdout, re.MULTILINE)


def locks() -> Path:
    """The folder of the locks: one for each person and machine, whatever the checkout."""
    return Path(tempfile.gettempdir(), f"ttsnap-gpus-{os.getuid()}")


def take(names: list[str], count: int) -> list[str]:
    """Lock `count` of these GPUs for this process and what it turns into; [] when so many are not free now."""
    locks().mkdir(mode=0o700, parents=True, exist_ok=True)
    taken: dict[str, int] = {}
    for name in names:
        file = os.open(locks() / re.sub(r"[^\w-]", "_", name), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            continue
        taken[name] = file
        if len(taken) == count:
            for kept in taken.values():
                os.set_inheritable(kept, True)
            return list(taken)
    for file in taken.values():
        os.close(file)
    return []


def claim(count: int) -> list[str]:
    """Take `count` of the shared GPUs, waiting for those that other jobs of this person have."""
    names = os.environ[SHARED].split(",") if os.environ[SHARED] else []
    count = min(count, len(names))
    waiting = False
    while count and not (taken := take(names, count)):
        if not waiting:
            print(f"waits for {count} free of the GPUs {', '.join(names)}", file=sys.stderr)
        waiting = True
        time.sleep(random.uniform(0.5, 1.5))
    return taken if count else []


def main(argv: list[str]) -> None:
    """Become the command, with its GPUs in CUDA_VISIBLE_DEVICES; with none where it asks for none."""
    count, *command = argv
    if SHARED in os.environ:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(claim(int(count)))
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
