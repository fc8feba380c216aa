"""The whole workflow on a small config: what it makes, what it reruns, what a kill leaves behind."""

import copy
import json
import os
import re
import shlex
import signal
import subprocess

import numpy as np
import pytest
import yaml
from small_run import (
    DRAFT,
    LEVELS,
    PROMPTS,
    ROOT,
    STEPS,
    command,
    planned,
    small_config,
    snakemake,
    wait_for_job,
    write_inputs,
)

from ttsnap.storage.tensor import read_tensor


def test_reward_tensor_opens_in_xarray(finished):
    xarray = pytest.importorskip("xarray")
    with xarray.open_dataset(finished / "results/tensors/test.pickscore.h5", engine="h5netcdf") as data:
        assert dict(data.sizes) == {"prompt": 4, "candidate": 6, "step": STEPS, "draft": 1}
        assert list(data["draft"].values) == [DRAFT] and json.loads(data.attrs["drafts"])[DRAFT]["tflop"] > 0
        assert np.isfinite(data["draft_base"].values).all() and np.isfinite(data["draft_noise_aware"].values).all()
        assert np.isfinite(data["base"].values).all()
        levels = np.isfinite(data["noise_aware"].values).all((0, 1))
        assert [int(s) for s in np.flatnonzero(levels)] == sorted(LEVELS)
        assert set(np.unique(data["accepted"])) <= {0, 1}
        assert list(data["prompt"].values) == PROMPTS["test"]


def test_rewards_in_the_tensor_are_those_of_the_images(finished):
    """Each link by hand: stored image → reward, for base and for one level's weights."""
    import torch

    from ttsnap.rewards.base import load_reward
    from ttsnap.rewards.levels import load_level
    from ttsnap.storage.image_shards import read_shard

    tensor = read_tensor(finished / "results/tensors/test.pickscore.h5")
    shard = read_shard(finished / "results/images/test/0001.h5")
    prompt, step = shard.prompts.index(PROMPTS["test"][2]), LEVELS[0]
    images = torch.from_numpy(shard.images(step, prompt)).permute(0, 3, 1, 2) / 255
    reward = load_reward("pickscore", path="embedded:shapes-clip")
    with torch.no_grad():
        base = reward(images, [PROMPTS["test"][2]] * len(images)).numpy()
        load_level(reward, finished / f"results/levels/pickscore/{step}.safetensors")
        level = reward(images, [PROMPTS["test"][2]] * len(images)).numpy()
    spread = tensor.base[2].std()  # bfloat16 rounding is small beside the differences that count
    [place] = tensor.places([step])
    np.testing.assert_allclose(tensor.base[2, :, place], base, atol=0.1 * spread)
    np.testing.assert_allclose(tensor.noise_aware[2, :, place], level, atol=0.1 * spread)


def test_best_of_n_in_the_simulation_is_the_exact_mean(finished):
    """E[max of n of C] by enumerating every subset, for the smallest budget."""
    from itertools import combinations

    tensor = read_tensor(finished / "results/tensors/test.aesthetic.h5")
    best = json.loads((finished / "results/simulations/aesthetic.json").read_text())["methods"]["best_of_n"]
    n = best["candidates"][0]
    final = tensor.base[:, :, -1].astype(float)
    subsets = list(combinations(range(final.shape[1]), n))
    expected = np.mean([[final[p, list(s)].max() for s in subsets] for p in range(len(final))])
    assert best["reward"][0] == pytest.approx(expected, rel=1e-5)


def test_a_second_run_has_nothing_to_do(copied):
    assert planned(copied) == {}


def test_images_do_not_depend_on_the_shards(finished, tmp_path):
    from ttsnap.storage.image_shards import read_shard

    config = small_config()
    config["prompts"]["test"]["shard_size"] = 4
    write_inputs(tmp_path / "other", config)
    run = snakemake(tmp_path / "other", "results/images/test/0000.h5")
    assert run.returncode == 0, run.stderr
    whole = read_shard(tmp_path / "other/results/images/test/0000.h5")
    parts = [read_shard(finished / f"results/images/test/000{s}.h5") for s in (0, 1)]
    for step in range(STEPS):
        np.testing.assert_array_equal(whole.images(step), np.concatenate([p.images(step) for p in parts]))


CHANGES = {
    "a simulation setting": (
        lambda config, prompts: config["simulate"].update(draws=30),
        {"simulate": 3, "compare_search": 1},
    ),
    "one reward's learning rate": (
        lambda config, prompts: config["rewards"]["pickscore"]["finetune"].update(lr=1e-4),
        {
            "finetune": 3,
            "score_noise_aware": 4,
            "score_noise_aware_drafts": 4,
            "tensor": 2,
            "align": 1,
            "fit_schedule": 3,
            "simulate": 2,
            "search": 2,
            "compare_search": 1,
        },
    ),
    "prompts added at the end": (
        lambda config, prompts: prompts["test"].append("a red triangle"),
        {"shard": 1, "generate": 1, "draft": 1, "score_base": 2, "score_noise_aware": 2, "check": 1}
        | {"score_base_drafts": 2, "score_noise_aware_drafts": 2}
        | {"tensor": 2, "align": 2, "simulate": 3, "compare_search": 1},
    ),
    "a comment": (lambda config, prompts: config.update(seed=0), {}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_only_what_was_invalidated_reruns(copied, change):
    config, prompts = small_config(), copy.deepcopy(PROMPTS)
    edit, expected = CHANGES[change]
    edit(config, prompts)
    write_inputs(copied, config, prompts)
    jobs = planned(copied)
    report_rules = {rule: n for rule, n in jobs.items() if rule.startswith("report")}
    assert {rule: n for rule, n in jobs.items() if rule not in report_rules} == expected
    assert bool(report_rules) == bool(expected)


def test_the_real_search_is_compared_with_the_simulation(finished):
    compared = json.loads((finished / "results/searches/pickscore.json").read_text())
    assert [row["method"] for row in compared["rows"]] == ["best_of_n", "ttsp", "ttsnap"]
    assert compared["fresh"] and compared["prompts"] == 2
    for row in compared["rows"]:
        assert row["most_spent_tflop"] <= row["budget_tflop"]
        traces = finished.glob(f"results/searches/pickscore/{row['method']}/2/*/traces/*.json")
        accepted = [json.loads(path.read_text())["pick"]["accepted"] for path in traces]
        assert len(accepted) == 2
        assert row["measured"]["accepted"]["value"] == sum(accepted) / 2
    assert "The search for real" in (finished / "results/report/search.pickscore.html").read_text()


KILLED = {
    "generate": "results/images/validation/0001.h5",
    "finetune": "results/levels/pickscore/2.safetensors",
    "tensor": "results/tensors/validation.pickscore.h5",
}


@pytest.mark.parametrize("rule", KILLED)
@pytest.mark.parametrize("victim", ["job", "snakemake"])
def test_sigkill_then_rerun_gives_the_same_bytes(copied, rule, victim):
    target = copied / KILLED[rule]
    whole = target.read_bytes()
    target.unlink()
    process = subprocess.Popen(
        command(copied, KILLED[rule]),
        cwd=copied,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    job = wait_for_job(rule, copied)
    if victim == "job":
        os.kill(job, signal.SIGKILL)
        assert process.wait(timeout=120) != 0
    else:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=60)
        snakemake(copied, "--unlock")
    assert not target.exists()
    rerun = snakemake(copied, KILLED[rule])
    assert rerun.returncode == 0, rerun.stderr
    assert target.read_bytes() == whole
    assert not list(target.parent.glob(".*")), "a temporary file was left"


BAD = {
    "unknown key": (lambda config: config.update(modle=1), "modle: unknown key"),
    "level outside": (lambda config: config.update(levels=[9]), "level"),
    "missing prompts": (lambda config: config["prompts"]["test"].update(file="no.txt"), "no.txt: no such file"),
    "missing model": (lambda config: config["model"].update(path="embedded:no"), "embedded:no"),
    "unknown reward": (lambda config: config["rewards"]["pickscore"].update(kind="no"), "'no' is unknown"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_configs_stop_before_any_job(tmp_path, case):
    config = small_config()
    edit, says = BAD[case]
    edit(config)
    write_inputs(tmp_path, config)
    run = snakemake(tmp_path)
    assert run.returncode != 0
    assert says in run.stderr and "Traceback" not in run.stderr
    assert not (tmp_path / "results").exists()


def test_a_preset_in_a_config_file_is_the_whole_model(tmp_path):
    """Nothing of config.yaml's own model is left in it; a reward set to null is none."""
    write_inputs(tmp_path, small_config())
    mine = {"model": {"preset": "flux-dev"}, "search": {"rewards": []}, "rewards": {"aesthetic": None}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(mine))
    run = snakemake(tmp_path, "--dry-run", "-p", "--configfile", "mine.yaml")
    assert run.returncode == 0, run.stderr
    generate = next(line for line in run.stdout.splitlines() if "ttsnap generate" in line)
    assert "--model black-forest-labs/FLUX.1-dev --guidance 3.5 --dtype bfloat16 --negtome" in generate
    assert "--height" not in generate and "shapes-sdxl" not in generate
    assert "aesthetic" not in run.stdout


def test_a_limit_cuts_the_last_shard(tmp_path):
    config = small_config()
    config["prompts"]["test"]["limit"] = 3
    write_inputs(tmp_path, config)
    wanted = [f"results/shards/test/000{n}.jsonl" for n in (0, 1)]
    run = snakemake(tmp_path, *wanted)
    assert run.returncode == 0, run.stderr
    lines = [(tmp_path / name).read_text().splitlines() for name in wanted]
    assert [json.loads(line)["prompt"] for part in lines for line in part] == PROMPTS["test"][:3]
    assert [len(part) for part in lines] == [2, 1]


def test_names_with_spaces_and_a_schedule_without_steps(tmp_path):
    config = small_config()
    config["simulate"]["schedule"] = {"steps": [], "keep": []}
    config["prompts"]["test"]["file"] = "my prompts/the test.txt"
    for name in ("shapes-sdxl", "shapes-clip"):
        (tmp_path / f"my {name}").symlink_to(ROOT / "ttsnap/models" / name)
    config["model"]["path"] = f"{tmp_path}/my shapes-sdxl"
    config["rewards"]["pickscore"]["options"]["path"] = f"{tmp_path}/my shapes-clip"
    write_inputs(tmp_path, config)
    (tmp_path / "my prompts").mkdir()
    (tmp_path / "test.txt").rename(tmp_path / "my prompts/the test.txt")
    run = snakemake(tmp_path, "results/shards/test/0000.jsonl")
    assert run.returncode == 0, run.stderr
    run = snakemake(tmp_path, "--dry-run", "-p")
    commands, labels = {}, []
    for words in map(shlex.split, re.findall("^Shell command: (.*)$", run.stdout, re.MULTILINE)):
        if words[:3] == ["python", "-m", "ttsnap.workflow.devices"]:
            words = words[4:]  # the count of GPUs, then the command
        if words[:3] == ["python", "-m", "ttsnap"]:
            commands[words[3]] = words
            labels += [words] if words[3] == "label" else []
    assert f"{tmp_path}/my shapes-sdxl" in commands["generate"]
    clips = [[word for word in words if "my shapes-clip" in word] for words in labels]
    assert clips.count([f"path={tmp_path}/my shapes-clip"]) == len(labels) / 2, "one reward of two"
    looks = commands["simulate"].index("--looks")
    assert commands["simulate"][looks : looks + 4] == ["--looks", "", "--keep", ""]
