"""Snakemake as a user types it, in a checkout with small prompt sets."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from small_run import PROMPTS, ROOT, small_config, write_inputs


def tiny_config() -> dict:
    """One reward, one shard a split; training long enough to be interrupted."""
    config = small_config()
    del config["rewards"]["aesthetic"]
    for split in PROMPTS:
        config["prompts"][split]["shard_size"] = 4
    config["rewards"]["pickscore"]["finetune"] |= {"epochs": 20, "batch_size": 6}
    return config


def checkout(folder: Path) -> Path:
    """A checkout like a user's, with small prompt sets."""
    write_inputs(folder, tiny_config())
    for name in ("Snakefile", "workflow", "profiles", "slurm", "ttsnap", "envs"):
        (folder / name).symlink_to(ROOT / name)
    return folder


class Run:
    """`snakemake WORDS` in a folder."""

    def __init__(self, folder: Path, env: dict, *words: str):
        self.folder, self.out = folder, folder / "snakemake.out"
        with self.out.open("w") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "snakemake", *words],
                cwd=folder,
                env=env | {"TTSNAP_SAVE_EVERY": "0.5"},
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait(self, seconds: int = 1800) -> int:
        try:
            return self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"not done after {seconds} s:\n{self.text()[-3000:]}") from None

    def kill(self) -> None:
        """SIGKILL to Snakemake and its child processes; its Slurm jobs stay."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=60)

    def text(self) -> str:
        return self.out.read_text()


def bytes_of(folder: Path) -> dict[str, bytes]:
    """The files that must be the same after every run, whatever happened meanwhile."""
    parts = ("shards", "images", "labels", "levels", "scores", "checks", "tensors", "schedules")
    return {
        # A schedule says how many seconds its fit took.
        str(path.relative_to(folder)): re.sub(rb'"seconds": [\d.e-]+', b"", path.read_bytes())
        if path.parent.name == "schedules"
        else path.read_bytes()
        for part in parts
        for path in sorted((folder / "results" / part).rglob("*"))
        if path.is_file()
    }
