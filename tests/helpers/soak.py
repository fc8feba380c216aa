"""SIGKILL at random moments of a run, again and again, for a bounded time; then the same bytes as an undisturbed run.

    python tests/helpers/soak.py --minutes 20 --seed 1            a job or the whole of Snakemake is killed
    python tests/helpers/soak.py --minutes 20 --seed 1 --slurm    on a real Slurm; also slurmd with its jobs

Every round starts anew, is killed up to --kills times and finished. Checked: after each kill, no job that Snakemake
had called done is planned again; at the end, every result has the bytes of the undisturbed run, nothing temporary is
left, and a further run has nothing to do. Ends with 1 at the first difference.
"""

import argparse
import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import slurm_cluster
from slurm_runs import Run, bytes_of, checkout

STEP = ("-m", "ttsnap")


def jobs_here(folder: Path) -> list[int]:
    """The process ids of the `ttsnap` commands that run in `folder`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if tuple(words[1:3]) == STEP and (entry / "cwd").resolve() == folder:
                found.append(int(entry.name))
    return found


class Round:
    """One run of the workflow, killed again and again until it is whole."""

    def __init__(self, folder: Path, dice: random.Random, cluster):
        self.folder, self.dice, self.cluster = checkout(folder), dice, cluster
        self.flags = ["--profile", "slurm"] if cluster else ["--cores", "2"]
        self.env = cluster.env if cluster else dict(os.environ)

    def start(self) -> Run:
        return Run(self.folder, self.env, *self.flags)

    def call(self, *words: str) -> str:
        """Run a short `snakemake WORDS` to its end."""
        run = Run(self.folder, self.env, *words)
        if run.wait():
            raise SystemExit(f"snakemake {' '.join(words)} failed:\n{run.text()[-3000:]}")
        return run.text()

    def planned(self) -> int:
        """How many jobs are still to be done."""
        total = re.search(r"^total +(\d+)$", self.call("--dry-run", "--cores", "2"), re.MULTILINE)
        return int(total[1]) if total else 0

    def disturb(self, longest: float) -> bool:
        """Start, kill something after a random time; False when the run was done before that."""
        before, run = self.planned(), self.start()
        with contextlib.suppress(subprocess.TimeoutExpired):
            run.process.wait(timeout=self.dice.uniform(1, longest))
            return False
        victim = self.dice.choice(["job", "snakemake", *(["slurmd"] if self.cluster else [])])
        print(f"  killing {victim}", flush=True)
        if victim == "job":
            for job in jobs_here(self.folder)[:1]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(job, signal.SIGKILL)
        elif victim == "slurmd":
            self.cluster.kill_slurmd()
            self.cluster.wait_for_node("down")
            self.cluster.start_slurmd()
        if victim != "snakemake":  # the others Snakemake survives: let it go on a little
            with contextlib.suppress(subprocess.TimeoutExpired):
                run.process.wait(timeout=20)
        if run.process.poll() is None:
            run.kill()
        log = run.text()  # before the next run of Snakemake here overwrites it
        done = [int(n) for n in re.findall(r"^(\d+) of \d+ steps", log, re.MULTILINE)]
        self.call("--unlock")
        left = self.planned()
        print(f"  {max(done, default=0)} of {before} jobs done, {left} left", flush=True)
        if left > before - max(done, default=0):
            raise SystemExit(f"finished work is repeated:\n{log}")
        return True


def soak(folder: Path, minutes: float, kills: int, seed: int, cluster) -> int:
    """Rounds until the time is up; the number of kills."""
    plain = Round(folder / "undisturbed", random.Random(seed), None)
    began = time.monotonic()
    plain.call("--cores", "2")
    wanted, took = bytes_of(plain.folder), time.monotonic() - began
    print(f"undisturbed: {len(wanted)} files in {took:.0f} s", flush=True)
    dice, total, number = random.Random(seed), 0, 0
    end = time.monotonic() + 60 * minutes
    while time.monotonic() < end:
        print(f"round {number}", flush=True)
        current = Round(folder / f"round{number}", dice, cluster)
        for _ in range(kills):
            if time.monotonic() > end or not current.disturb(took / 2):
                break
            total += 1
        current.call(*current.flags)
        compare(bytes_of(current.folder), wanted)
        if left := list((current.folder / "results").rglob(".*")):
            raise SystemExit(f"left behind: {left}")
        if current.planned():
            raise SystemExit("a further run has something to do")
        number += 1
    print(f"{number} rounds, {total} kills, seed {seed}: all the same bytes")
    return total


def compare(found: dict[str, bytes], wanted: dict[str, bytes]) -> None:
    """Stop at the first files that differ."""
    different = sorted(name for name in wanted.keys() | found if wanted.get(name) != found.get(name))
    if different:
        raise SystemExit(f"other than undisturbed: {', '.join(different)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20, help="no new kill after that long")
    parser.add_argument("--kills", type=int, default=4, help="kills per round")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and victims")
    parser.add_argument("--slurm", action="store_true", help="on a real Slurm, started here")
    parser.add_argument("--folder", type=Path, help="where to run; default: a temporary one")
    args = parser.parse_args()
    if args.slurm and slurm_cluster.missing():
        sys.exit(slurm_cluster.missing())
    with contextlib.ExitStack() as stack:
        folder = args.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder = folder.resolve()
        cluster = slurm_cluster.Cluster(folder / "slurm") if args.slurm else None
        if cluster:
            stack.callback(cluster.stop)
            cluster.start()
        soak(folder, args.minutes, args.kills, args.seed, cluster)


if __name__ == "__main__":
    main()
