"""A real Slurm on this machine, all in one folder: munged, slurmctld and slurmd; nothing in /etc is touched.

    python tests/helpers/slurm_cluster.py start FOLDER    then `. FOLDER/env` points a shell at it
    python tests/helpers/slurm_cluster.py stop FOLDER

It has one node, a default partition, one with a short time limit, and two fake gpus.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

DEVICES = ("/dev/null", "/dev/zero")  # Slurm accepts no plain file as a gpu
PROGRAMS = ("munged", "mungekey", "slurmctld", "slurmd", "sbatch", "squeue", "srun")
# /usr/sbin is not always on the PATH.
SEARCH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def missing() -> str:
    """Why no Slurm can be started here; empty when it can."""
    absent = [name for name in PROGRAMS if not shutil.which(name, path=SEARCH)]
    if absent:
        return f"no {', '.join(absent)} here: apt-get install slurm-wlm munge"
    return "" if os.getuid() == 0 else "slurmd has to be started as root"


def free_port() -> int:
    """A free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Cluster:
    """The daemons of a cluster that lives in `folder`; `env` is what its users need."""

    def __init__(self, folder: Path, partition: str = "batch"):
        self.folder = Path(folder).absolute()
        self.conf = self.folder / "slurm.conf"
        self.partition = partition
        self.env = os.environ | {"SLURM_CONF": str(self.conf), "PATH": f"{self.folder / 'bin'}{os.pathsep}{SEARCH}"}

    def start(self) -> None:
        """Write the configuration, start the daemons, wait until the node is idle."""
        for name in ("state", "spool", "log", "bin"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)
        self._write()
        key = self.folder / "munge.key"
        if not key.exists():
            self._run("mungekey", "--create", "--bits", "1024", "--keyfile", str(key))
        self.start_munged()
        self._daemon("slurmctld", "-f", str(self.conf))
        self.start_slurmd()
        self.wait_for_node("idle")

    def start_munged(self) -> None:
        """Start the authentication daemon."""
        files = {
            "socket": "munge.socket",
            "pid-file": "munged.pid",
            "log-file": "log/munged.log",
            "seed-file": "munge.seed",
            "key-file": "munge.key",
        }
        options = [f"--{name}={self.folder / file}" for name, file in files.items()]
        self._daemon("munged", "--force", *options)

    def start_slurmd(self) -> None:
        """Start the node's daemon, at low priority: its jobs share this machine with the tests."""
        self._daemon("slurmd", "-f", str(self.conf), "-N", "node1", nice=5)

    def kill_slurmd(self) -> None:
        """SIGKILL the node's daemon and all its job steps, as when the machine loses its power."""
        for pid in self._step_daemons():
            _kill_tree(pid)
        _kill(self._pid("slurmd"))

    def stop(self) -> None:
        """Cancel every job and end the daemons."""
        if self._pid("slurmctld"):
            subprocess.run(["scancel", "--partition", self.partition], env=self.env, check=False)
            time.sleep(1)
        self.kill_slurmd()
        for name in ("slurmctld", "munged"):
            _kill(self._pid(name), signal.SIGTERM)

    def states(self) -> dict[str, str]:
        """job id → state of every job Slurm remembers."""
        text = self._run("squeue", "--states=all", "--noheader", "--format=%i %T")
        return dict(line.split() for line in text.splitlines())

    def jobs(self, **wanted: str) -> list[dict[str, str]]:
        """The fields `scontrol show job` gives of every job, e.g. jobs(JobState="RUNNING")."""
        text = self._run("scontrol", "--oneliner", "show", "job")
        rows = [dict(w.split("=", 1) for w in line.split() if "=" in w) for line in text.splitlines()]
        return [row for row in rows if row and all(row.get(key) == value for key, value in wanted.items())]

    def wait_for_node(self, state: str, seconds: int = 60) -> None:
        """Wait until the node is in `state`."""
        # The star of "down*" means that the node does not answer, as a dead one does not.
        accepted, now = {state, "down*"} if state == "down" else {state}, ""
        for _ in range(seconds * 2):
            now = self._run("sinfo", "--noheader", "--format=%T", "--partition", self.partition, check=False)
            if now.strip() in accepted:
                return
            time.sleep(0.5)
        raise RuntimeError(f"the node is {now.strip()!r}, not {state}; see {self.folder}/log")

    def _write(self) -> None:
        node = f"CPUs={os.cpu_count()} RealMemory=32000 Gres=gpu:{len(DEVICES)}"
        self.conf.write_text(
            f"""ClusterName=ttsnap
SlurmctldHost=localhost(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={self.folder}/munge.socket,cred_expire=20
CredType=cred/munge
SlurmctldPort={free_port()}
SlurmdPort={free_port()}
StateSaveLocation={self.folder}/state
SlurmdSpoolDir={self.folder}/spool
SlurmctldPidFile={self.folder}/slurmctld.pid
SlurmdPidFile={self.folder}/slurmd.pid
SlurmctldLogFile={self.folder}/log/slurmctld.log
SlurmdLogFile={self.folder}/log/slurmd.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=2
JobAcctGatherParams=OverMemoryKill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_min_interval=0,batch_sched_delay=0,requeue_delay=1
AccountingStorageType=accounting_storage/none
GresTypes=gpu
ReturnToService=2
SlurmdTimeout=10
KillWait=5
MinJobAge=3600
MailProg=/bin/true
EnforcePartLimits=NO
NodeName=node1 NodeHostname={socket.gethostname()} NodeAddr=127.0.0.1 {node}
PartitionName={self.partition} Nodes=node1 Default=YES MaxTime=INFINITE State=UP
PartitionName=short Nodes=node1 MaxTime=30 State=UP
"""
        )
        gpus = "".join(f"Name=gpu File={device}\n" for device in DEVICES)
        (self.folder / "gres.conf").write_text(gpus)
        (self.folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n")
        # Snakemake's job step removes SLURM_CONF from the environment; this sets it again.
        srun = self.folder / "bin/srun"
        real = shutil.which("srun", path=SEARCH)
        srun.write_text(f'#!/bin/sh\nSLURM_CONF={self.conf} exec {real} "$@"\n')
        srun.chmod(0o755)
        (self.folder / "env").write_text(f"export SLURM_CONF={self.conf} PATH={self.folder}/bin:$PATH:/usr/sbin\n")

    def _daemon(self, name: str, *options: str, nice: int = 0) -> None:
        command = ["nice", f"-n{nice}", shutil.which(name, path=SEARCH), *options]
        subprocess.run(command, env=self.env, check=True)
        for _ in range(50):
            if self._pid(name):
                return
            time.sleep(0.2)
        raise RuntimeError(f"{name} did not start; see {self.folder}/log/{name}.log")

    def _pid(self, name: str) -> int | None:
        """The process id of one of this cluster's daemons, while it lives."""
        try:
            pid = int((self.folder / f"{name}.pid").read_text())
        except (OSError, ValueError):
            return None
        return pid if _alive(pid) and _comm(Path(f"/proc/{pid}")) == name else None

    def _step_daemons(self) -> list[int]:
        """The slurmstepd of this cluster's jobs, which outlive slurmd."""
        return [
            int(entry.name)
            for entry in Path("/proc").glob("[0-9]*")
            if _comm(entry) == "slurmstepd" and _open(entry, self.folder / "log/slurmd.log")
        ]

    def _run(self, name: str, *options: str, check: bool = True) -> str:
        path = shutil.which(name, path=SEARCH)
        run = subprocess.run([path, *options], env=self.env, capture_output=True, text=True, timeout=60)
        if check and run.returncode:
            raise RuntimeError(f"{name}: {run.stderr.strip()}")
        return run.stdout


def _comm(process: Path) -> str:
    try:
        return (process / "comm").read_text().strip()
    except OSError:
        return ""


def _open(process: Path, file: Path) -> bool:
    """Whether a process has `file` open."""
    try:
        return any(os.readlink(link) == str(file) for link in (process / "fd").iterdir())
    except OSError:
        return False


def _kill(pid: int | None, how: int = signal.SIGKILL) -> None:
    """Send a signal and wait for the end; nothing when there is no such process."""
    if pid is None:
        return
    try:
        os.kill(pid, how)
    except ProcessLookupError:
        return
    for _ in range(100):
        if not _alive(pid):
            return
        time.sleep(0.1)


def _alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _kill_tree(pid: int) -> None:
    """SIGKILL a process and everything below it."""
    below = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    for child in below.stdout.split():
        _kill_tree(int(child))


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in ("start", "stop"):
        raise SystemExit(__doc__)
    if missing():
        raise SystemExit(missing())
    getattr(Cluster(Path(sys.argv[2])), sys.argv[1])()
