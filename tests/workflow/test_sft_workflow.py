"""The second method as workflow, small: what it makes, what it reruns, what a kill leaves behind."""

import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
import torch
from small_run import command, small_config, snakemake, wait_for_job, write_inputs

from ttsnap.sft.records import read_assigned

pytestmark = [pytest.mark.slow, pytest.mark.long]
RUN = "results/sft/runs/0"


def config(**changes) -> dict:
    sft = {
        "data": {"kind": "digits", "limit": 12, "test_limit": 6, "shard_size": 8},
        "gan": {"epochs": 1, "width": 8, "limit": 128},
        "assign": {"steps": 5},
        "train": {"epochs": 1, "batch_size": 4},
        "cycles": 2,
        "seeds": [0],
        "fresh": 32,
    }
    return small_config() | {"sft": sft | changes}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sft") / "whole"
    write_inputs(folder, config())
    run = snakemake(folder, "sft")
    assert run.returncode == 0, run.stdout + run.stderr
    return folder


@pytest.fixture
def copied(finished, tmp_path):
    return Path(shutil.copytree(finished, tmp_path / "copy", symlinks=True))


def planned(folder: Path) -> dict[str, int]:
    run = snakemake(folder, "sft", "--dry-run")
    assert run.returncode == 0, run.stderr
    table = re.findall(r"^(\w+) +(\d+)$", run.stdout.split("Reasons:")[0], re.MULTILINE)
    return {rule: int(count) for rule, count in table if rule not in ("sft", "total")}


def manifests(folder: Path, cycle: int) -> list[Path]:
    return [folder / RUN / f"noise/{cycle}/{shard:04d}/manifest.jsonl" for shard in range(2)]


def test_cycles_keep_the_base_noise_and_as_many_updates(finished):
    first, second = (read_assigned(manifests(finished, cycle)) for cycle in (1, 2))
    assert len(first.keys) == 12 and first.keys == second.keys
    assert torch.equal(first.base, second.base) and not torch.equal(first.noise, second.noise)
    for cycle in (1, 2):
        updates = {
            json.loads((finished / RUN / way / f"{cycle}/train_summary.json").read_text())["updates"]
            for way in ("random", "assigned")
        }
        assert updates == {3}
    for line in manifests(finished, 2)[0].read_text().splitlines():
        record = json.loads(line)
        assert record["loss"] <= record["loss_start"]


def test_the_teacher_is_the_original_in_the_second_cycle(finished):
    first, second = (
        json.loads((finished / RUN / f"assigned/{cycle}/train_summary.json").read_text()) for cycle in (1, 2)
    )
    assert first["teacher"] == second["teacher"] == first["model"] != second["model"]


def test_every_model_is_in_the_table(finished):
    summary = json.loads((finished / "results/sft/report/summary.json").read_text())
    models = [(row["way"], row["cycle"]) for row in summary["rows"]]
    assert models == [("base", 0), ("random", 1), ("random", 2), ("assigned", 1), ("assigned", 2)]
    assert summary["rows"][0]["values"]["drift from the original (MSE)"]["value"] == 0
    assert "one seed only" in summary["sentences"][0]
    for name in ("comparison.html", "curves.png", "images.0.png"):
        assert (finished / "results/sft/report" / name).stat().st_size > 1000


def test_only_what_was_invalidated_reruns(copied):
    assert planned(copied) == {}
    write_inputs(copied, config(fresh=64))
    assert set(planned(copied)) == {"sft_compare", "sft_report_table", "sft_report_images"}
    write_inputs(copied, config(train={"epochs": 1, "batch_size": 6}))
    jobs = planned(copied)
    assert "sft_gan" not in jobs and "sft_classifier" not in jobs
    assert jobs["sft_train"] == 4 and jobs["assign"] == 2  # of the second cycle
    write_inputs(copied, config(cycles=3))
    jobs = planned(copied)
    assert (jobs["assign"], jobs["sft_train"], jobs["sft_compare"]) == (2, 2, 2)


@pytest.mark.parametrize(
    ("rule", "target"),
    [("assign", f"{RUN}/noise/2/0000/manifest.jsonl"), ("sft", f"{RUN}/assigned/2/train_summary.json")],
)
def test_sigkill_then_rerun_gives_the_same(copied, rule, target):
    whole = (copied / target).read_text()
    (copied / target).unlink()
    if rule == "assign":
        shutil.rmtree((copied / target).parent / "blocks")
    process = subprocess.Popen(
        command(copied, target), cwd=copied, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    os.kill(wait_for_job(rule, copied), signal.SIGKILL)
    assert process.wait(timeout=300) != 0
    assert not (copied / target).exists()
    rerun = snakemake(copied, target)
    assert rerun.returncode == 0, rerun.stderr
    assert (copied / target).read_text() == whole


BAD = {
    "pairs without files": ({"data": {"kind": "pairs"}}, "needs file and test_file"),
    "unknown key": ({"cylces": 3}, "sft.cylces: unknown key"),
    "no such model": ({"model": "./nowhere/"}, "sft.model: ./nowhere/: no such file"),
    "a pipeline for classes": ({"model": "embedded:shapes-sdxl"}, "a pipeline, which takes pairs"),
    "seed twice": ({"seeds": [1, 1]}, "seeds: give at least one, each once"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_configs_stop_before_any_job(tmp_path, case):
    changes, says = BAD[case]
    write_inputs(tmp_path, config(**changes))
    run = snakemake(tmp_path, "sft")
    assert run.returncode != 0
    assert says in run.stderr and "Traceback" not in run.stderr
