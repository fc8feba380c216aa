"""The published scale, planned: 5 000 prompts × 8 images, 200 × 200 for validation and test, 3 rewards, 15 levels."""

import json
import os
import re
import subprocess
import sys
import time

from small_run import ROOT, small_config, write_inputs

TEST = """
import json, os, resource, sys, time
start = time.monotonic()
code = os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-m", "snakemake", *sys.argv[1:]])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([code, time.monotonic() - start, used.ru_utime + used.ru_stime, used.ru_maxrss]))
"""


def published() -> tuple[dict, dict]:
    """The config of the paper's run, on prompts of no meaning."""
    config = small_config()
    config["checker"] = None
    config["model"] |= {"steps": 20, "height": 512, "width": 512, "batch_size": 8}
    config |= {"levels": list(range(14, -1, -1)), "drafts": {}, "looks": {}}
    pickscore = config["rewards"]["pickscore"]
    config["rewards"] = {name: pickscore for name in ("pickscore", "imagereward", "hpsv2")}
    sizes = {"train": (5000, 8, 100), "validation": (200, 200, 5), "test": (200, 200, 5)}
    prompts = {}
    for split, (number, candidates, shard) in sizes.items():
        prompts[split] = [f"{split} prompt {n}" for n in range(number)]
        config["prompts"][split] |= {"candidates": candidates, "shard_size": shard}
    return config, prompts


def plan(folder, *words: str) -> tuple[str, float, float]:
    """What a dry run says, its CPU seconds and the memory it took in MB."""
    flags = ["--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder), "--cores", "2"]
    run = subprocess.run(
        [sys.executable, "-c", TEST, *flags, "--dry-run", "--quiet", "rules", *words],
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    code, _, seconds, kilobytes = json.loads(run.stdout.splitlines()[-1])
    assert code == 0, run.stderr[-3000:]
    return run.stdout, seconds, kilobytes / 1000


def test_the_published_scale_is_planned(tmp_path):
    write_inputs(tmp_path / "run", *published())
    start = time.monotonic()
    text, seconds, megabytes = plan(tmp_path / "run")
    jobs = int(re.search(r"^total +(\d+)$", text, re.MULTILINE)[1])
    print(f"{jobs} jobs planned in {seconds:.0f} CPU s, {time.monotonic() - start:.0f} s, {megabytes:.0f} MB")
    assert megabytes < 2000
    assert f"{jobs} jobs" in (ROOT / "docs/scale.md").read_text()
