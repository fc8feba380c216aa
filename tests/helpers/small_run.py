"""The workflow on a small config, for the tests that run it: prompts, config, commands."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import yaml
from warm import warm_path

ROOT = Path(__file__).parents[2]
LEVELS, STEPS, DRAFT = [5, 2], 8, "few"
PROMPTS = {
    "train": ["a red circle", "a blue square", "a green circle above a red square", "an orange triangle"],
    "validation": ["a purple circle", "a red square left of a blue circle", "a green square", "a blue circle"],
    "test": ["a yellow square", "a green triangle", "a red circle below a blue square", "an orange circle"],
}


def two_rewards() -> dict:
    """The default config with a second reward, levels from the base weights, and no reference run."""
    config = yaml.safe_load((ROOT / "config.yaml").read_text()) | {"reference": None}
    finetune = config["rewards"]["pickscore"]["finetune"] | {"start": None, "lr": 1e-3}
    head = {"head": "embedded:shapes-aesthetic/head.safetensors"}
    for name, options in (("pickscore", {}), ("aesthetic", head)):
        options = {"path": "embedded:shapes-clip"} | options
        config["rewards"][name] = {"kind": name, "options": options, "finetune": dict(finetune)}
    return config


def small_config() -> dict:
    """That on few prompts, candidates, levels and draws."""
    config = two_rewards()
    config["model"] |= {"steps": STEPS, "guidance": 1.0}
    config["drafts"] = {DRAFT: {"steps": 2}}
    config["levels"] = [*LEVELS, DRAFT]
    for split in PROMPTS:
        config["prompts"][split] = {"file": f"{split}.txt", "candidates": 6, "shard_size": 2}
    config["simulate"] |= {"draws": 20, "budgets": {"unit": "candidates", "first": 2, "last": 4, "step": 1}}
    config["search"] |= {"rewards": ["pickscore"], "budgets": [2], "prompts": 2}
    config["report"] = {"gallery": 1, "gallery_candidates": 2}
    return config


def write_inputs(folder: Path, config: dict, prompts: dict = PROMPTS) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    for split, texts in prompts.items():
        (folder / f"{split}.txt").write_text("\n".join(texts) + "\n")


def command(folder: Path, *words: str) -> list[str]:
    flags = ["--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder), "--cores", "2"]
    return [sys.executable, "-m", "snakemake", *flags, *words]


def snakemake(folder: Path, *words: str) -> subprocess.CompletedProcess:
    """Run Snakemake there; its jobs share the imports of one process."""
    environment = os.environ | {"PATH": warm_path()}
    return subprocess.run(
        command(folder, *words), capture_output=True, text=True, cwd=folder, timeout=1200, env=environment
    )


def planned(folder: Path) -> dict[str, int]:
    """rule → number of jobs that a dry run would start."""
    run = snakemake(folder, "--dry-run")
    assert run.returncode == 0, run.stderr
    table = re.findall(r"^(\w+) +(\d+)$", run.stdout.split("Reasons:")[0], re.MULTILINE)
    return {rule: int(count) for rule, count in table if rule not in ("all", "total")}


def wait_for_job(rule: str, folder: Path) -> int:
    """The process id of the running `ttsnap RULE` in `folder`."""
    for _ in range(6000):
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
                if words[1:4] == ["-m", "ttsnap", rule] and (entry / "cwd").resolve() == folder.resolve():
                    return int(entry.name)
            except OSError:
                continue
        time.sleep(0.1)
    raise AssertionError(f"no {rule} job was started")
