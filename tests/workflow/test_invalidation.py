"""Only what was invalidated runs again: one change each, and the exact set of jobs that Snakemake then plans."""

import copy
import itertools
import os
import re
import shutil
import subprocess
from pathlib import Path

import h5py
import planned_jobs
import pytest
from small_run import DRAFT, PROMPTS, ROOT, command, small_config, snakemake, write_inputs

REWARDS = ["aesthetic", "pickscore"]
SEARCHES = [*REWARDS, "all"]
METHODS = ["best_of_n", "ttsp", "ttsnap"]
FITTED, EVERY = ["ttsp", "ttsnap", "ttsnap_steps"], ["5", "2", DRAFT]  # methods with schedules, levels


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the code, so that some of it can be edited."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("ttsnap", "workflow", "envs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Snakefile", folder)
    return folder


def planned(checkout: Path, folder: Path, *words: str) -> set[str]:
    """The jobs of a dry run of a checkout, each as “rule wildcard wildcard …”."""
    environment = {"PYTHONPATH": str(checkout), "PYTHONDONTWRITEBYTECODE": "1"}
    return planned_jobs.planned(checkout / "Snakefile", folder, *words, **environment)


def jobs(rule: str, *wildcards) -> set[str]:
    """“rule a b …” for every combination of the wildcards' values."""
    values = [[w] if isinstance(w, str) else w for w in wildcards]
    return {" ".join([rule, *words]) for words in itertools.product(*values)}


def report(rewards=REWARDS, searches=SEARCHES, gallery=None) -> set[str]:
    """Everything of the report that shows these rewards and searches."""
    return set().union(
        {"report_summary"},
        *(jobs(f"report_{part}", searches) for part in ("budget", "gain", "cost")),
        *(jobs(f"report_{part}", rewards) for part in ("tau", "looks", "levels")),
        jobs("report_gallery", rewards if gallery is None else gallery),
        jobs("report_search", set(rewards) & {"pickscore"}),
    )


def search_jobs(methods=METHODS, shards=("0000",)) -> set[str]:
    """Real searches of the one reward that is searched with, and their comparison with the prediction."""
    return jobs("search", "pickscore", methods, "2", shards) | jobs("compare_search", "pickscore")


def image_jobs(split: str, shards: list[str], rewards=REWARDS) -> set[str]:
    """The jobs that make and read the images of some shards, and the tensors they end in."""
    made = jobs("shard", split, shards) | jobs("generate", split, shards) | jobs("draft", split, shards)
    if split == "train":
        return made | jobs("label", split, shards, rewards)
    kinds = ("base", "noise_aware", "base_drafts", "noise_aware_drafts")
    scored = [jobs(f"score_{kind}", split, shards, rewards) for kind in kinds]
    return made.union(*scored, jobs("check", split, shards), jobs("tensor", split, rewards))


def after_test_images(shards: list[str]) -> set[str]:
    """What follows from other test images in some shards."""
    return set().union(
        image_jobs("test", shards), jobs("align", "test", REWARDS), jobs("simulate", SEARCHES), search_jobs([])
    )


def after_levels(reward: str, levels: list[str]) -> set[str]:
    """What follows from other weights at some levels of a reward."""
    shards, of_drafts = ["0000", "0001"], [DRAFT] if DRAFT in levels else []
    rules = (["score_noise_aware"] if set(levels) - {DRAFT} else []) + ["score_noise_aware_drafts"] * len(of_drafts)
    return set().union(
        jobs("finetune", reward, levels),
        *(jobs(rule, ["validation", "test"], shards, reward) for rule in rules),
        jobs("tensor", ["validation", "test"], reward),
        jobs("align", "test", reward),
        jobs("fit_schedule", reward, FITTED),
        jobs("simulate", [reward, "all"]),
        search_jobs(["ttsp", "ttsnap"]) if reward == "pickscore" else set(),
    )


def finetuning(config, **settings):
    config["rewards"]["pickscore"]["finetune"] |= settings


def third_reward(config, prompts):
    config["rewards"]["third"] = copy.deepcopy(config["rewards"]["pickscore"])


def other_weights(config, prompts):
    config["rewards"]["aesthetic"]["options"]["activation"] = "gelu"


TWO, PICKSCORE = ["0000", "0001"], (["pickscore"], ["pickscore", "all"])
AESTHETIC = (["aesthetic"], ["aesthetic", "all"])
TEN = [
    f"a red {shape} {relation} a yellow triangle"
    for shape in ("circle", "square", "triangle")
    for relation in ("above", "below", "left of", "right of")
][:10]


def after_reward(reward: str) -> set[str]:
    """Whatever a reward of its own needs."""
    return set().union(
        jobs("label", "train", TWO, reward),
        jobs("score_base", ["validation", "test"], TWO, reward),
        jobs("score_base_drafts", ["validation", "test"], TWO, reward),
        after_levels(reward, EVERY),
    )


def after_drafts(levels: list[str], fitted: list[str]) -> set[str]:
    """What follows from other drafts, some of which are levels: never images, scores or levels of the steps."""
    after = set().union(*(after_levels(reward, levels) for reward in REWARDS))
    fits = jobs("fit_schedule", REWARDS, FITTED) - jobs("fit_schedule", REWARDS, fitted)
    return (after | BASE_OF_DRAFTS) - fits


BASE_OF_DRAFTS = jobs("score_base_drafts", ["validation", "test"], TWO, REWARDS)
# change: (what is done to the config and the prompts, the jobs it costs)
CONFIGS = {
    "a simulation setting": (
        lambda config, prompts: config["simulate"].update(draws=30),
        jobs("simulate", SEARCHES) | search_jobs([]) | report() - jobs("report_levels", REWARDS),
    ),
    "one prompt's text": (
        lambda config, prompts: prompts["test"].__setitem__(2, "a red triangle"),
        after_test_images(["0001"]) | report(),
    ),
    "one training prompt's text": (
        lambda config, prompts: prompts["train"].__setitem__(1, "a red triangle"),
        image_jobs("train", ["0000"]) | after_levels("pickscore", EVERY) | after_levels("aesthetic", EVERY) | report(),
    ),
    "ten prompts added at the end": (
        lambda config, prompts: prompts["test"].extend(TEN),
        after_test_images(["0002", "0003", "0004", "0005", "0006"]) | report(),
    ),
    "the last prompt removed": (lambda config, prompts: prompts["test"].pop(), after_test_images(["0001"]) | report()),
    "the model's number type": (
        lambda config, prompts: config["model"].update(dtype="float32"),
        {job for split in PROMPTS for job in image_jobs(split, TWO) if not job.startswith("shard ")}
        | after_test_images([])
        | after_levels("pickscore", EVERY)
        | after_levels("aesthetic", EVERY)
        | search_jobs()
        | report(),
    ),
    "a reward's weights": (other_weights, after_reward("aesthetic") | report(*AESTHETIC)),
    "the last level's learning rate": (
        lambda config, prompts: finetuning(config, lr_at={2: 1e-5}),
        after_levels("pickscore", ["2"]) | report(*PICKSCORE),
    ),
    "the first level's learning rate": (
        lambda config, prompts: finetuning(config, lr_at={5: 1e-5}),
        after_levels("pickscore", ["5", "2"]) | report(*PICKSCORE),
    ),
    "a reward added": (third_reward, after_reward("third") | report(["third"], ["third", "all"])),
    "another number of shards": (
        lambda config, prompts: config["prompts"]["test"].update(shard_size=1),
        after_test_images(["0000", "0001", "0002", "0003"]) | search_jobs(shards=["0000", "0001"]) | report(),
    ),
    "a limit of the cluster": (lambda config, prompts: config.update(limits={"mem_mb": 4000}), set()),
    "a draft added": (
        lambda config, prompts: config["drafts"].update(onestep={"steps": 1, "model": "embedded:shapes-onestep"}),
        jobs("draft", ["validation", "test"], TWO) | after_drafts([DRAFT], FITTED) | report(),
    ),
    "a draft that is no level any more": (
        lambda config, prompts: config["levels"].remove(DRAFT),
        after_drafts([], FITTED) - BASE_OF_DRAFTS | report(),
    ),
    "no draft any more": (
        lambda config, prompts: config.update(drafts={}, levels=[5, 2]),
        after_drafts([], ["ttsp", "ttsnap"]) - BASE_OF_DRAFTS | report(),
    ),
    "a draft's steps": (
        lambda config, prompts: config["drafts"][DRAFT].update(steps=3),
        jobs("draft", list(PROMPTS), TWO) | after_drafts([DRAFT], FITTED) | report(),
    ),
    "a draft's learning rate": (
        lambda config, prompts: finetuning(config, lr_at={DRAFT: 1e-5}),
        after_levels("pickscore", [DRAFT]) | report(*PICKSCORE),
    ),
    "the report's gallery": (
        lambda config, prompts: config["report"].update(gallery_candidates=3),
        jobs("report_gallery", REWARDS),
    ),
}


@pytest.mark.parametrize("change", CONFIGS)
def test_a_changed_config_costs_only_its_jobs(copied, checkout, change):
    config, prompts = small_config(), copy.deepcopy(PROMPTS)
    edit, expected = CONFIGS[change]
    edit(config, prompts)
    write_inputs(copied, config, prompts)
    assert planned(checkout, copied) == expected


def test_a_comment_and_another_order_of_keys_cost_nothing(copied, checkout):
    path = copied / "config.yaml"
    parts = re.split(r"^(?=\w)", path.read_text(), flags=re.MULTILINE)
    path.write_text("# a comment\n" + "# and another\n".join(reversed(parts)))
    assert planned(checkout, copied) == set()


def test_a_resource_costs_nothing(copied, checkout):
    rules = checkout / "workflow/rules/generate.smk"
    text = rules.read_text()
    rules.write_text(text.replace("needs(8000", "needs(9000"))
    assert rules.read_text() != text
    try:
        assert planned(checkout, copied, "--set-resources", "finetune:mem_mb=99") == set()
    finally:
        rules.write_text(text)


ALL_LEVELS = after_levels("pickscore", EVERY) | after_levels("aesthetic", EVERY)

# file: the jobs that an edit of it costs
CODE = {
    "report/figures.py": report(),
    "finetune/train.py": ALL_LEVELS | report(),
    "simulate/montecarlo.py": jobs("fit_schedule", REWARDS, FITTED)
    | jobs("simulate", SEARCHES)
    | search_jobs(["ttsp", "ttsnap"])
    | report() - jobs("report_levels", REWARDS),
    "settings/finetune.py": ALL_LEVELS | report(),
    "finetune/alignment.py": jobs("align", "test", REWARDS)
    | jobs("report_tau", REWARDS)
    | jobs("report_looks", REWARDS)
    | jobs("report_levels", REWARDS)
    | {"report_summary"},
    "pruning/costs.py": jobs("align", "test", REWARDS)
    | jobs("fit_schedule", REWARDS, FITTED)
    | jobs("simulate", SEARCHES)
    | search_jobs()
    | report(),
    "settings/config.py": set(),
    "settings/sft.py": set(),
    "noise/assign.py": set(),
    "cli.py": set(),
    "commands/cost.py": set(),
    "workflow/plan.py": set(),
    "workflow/sft_plan.py": set(),
}


@pytest.mark.parametrize("file", CODE)
def test_edited_code_costs_only_its_stage(copied, checkout, file):
    path = checkout / "ttsnap" / file
    text = path.read_text()
    path.write_text(text + "\n# edited\n")
    try:
        assert planned(checkout, copied) == CODE[file]
    finally:
        path.write_text(text)


ALL_IMAGES = {job for split in PROMPTS for job in image_jobs(split, TWO) if not job.startswith("shard ")}
# file of a model: the jobs that an edit of it in place costs
MODELS = {
    "shapes-sdxl/scheduler/scheduler_config.json": ALL_IMAGES
    | after_test_images([])
    | ALL_LEVELS
    | search_jobs()
    | report(),
    "shapes-clip/tokenizer_config.json": after_reward("pickscore")
    | after_reward("aesthetic")
    | search_jobs()
    | report(),
    "shapes-aesthetic/head.safetensors": after_reward("aesthetic") | report(*AESTHETIC),
    "shapes-onestep/unet/config.json": set(),
}


@pytest.mark.parametrize("file", MODELS)
def test_a_model_edited_in_place_costs_what_reads_it(copied, checkout, file):
    path = checkout / "ttsnap/models" / file
    data = path.read_bytes()
    path.write_bytes(data + b" ")
    try:
        assert planned(checkout, copied) == MODELS[file]
    finally:
        path.write_bytes(data)


def test_the_same_bytes_again_and_a_note_cost_nothing(copied, checkout):
    folder = checkout / "ttsnap/models/shapes-sdxl"
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        path.write_bytes(path.read_bytes())
    (folder / "notes.txt").write_text("mine")
    (copied / "pairs.jsonl").write_text("")
    assert planned(checkout, copied) == set()


def test_a_forced_stage_does_not_give_the_old_result_back(copied):
    target = "results/images/test/0000.h5"
    with h5py.File(copied / target) as file:
        right = file["images"][:]
    [kept] = (copied / "results/state/images").glob("test.0000.*.h5")
    with h5py.File(kept, "r+") as file:
        file["images"][:] = 0
    run = snakemake(copied, "--forcerun", target, "--", target)
    assert run.returncode == 0, run.stderr
    with h5py.File(copied / target) as file:
        assert (file["images"][:] == right).all() and right.any()


def test_a_report_is_of_the_settings_beside_it(copied):
    config = small_config()
    config["simulate"]["draws"] = 30
    write_inputs(copied, config)
    run = snakemake(copied, "--report", "report.html")
    assert run.returncode != 0 and not (copied / "report.html").exists()
    assert "simulate would run again" in " ".join(run.stderr.split())
    assert "Traceback" not in run.stderr


def test_an_edit_of_ones_own_reward_costs_what_reads_it(copied, checkout):
    """A module beside the config, named by import path, and another one that it imports."""
    config = small_config()
    config["rewards"]["mine"] = copy.deepcopy(config["rewards"]["pickscore"])
    config["rewards"]["mine"]["kind"] = "mine:Mine"
    write_inputs(copied, config)
    (copied / "helper.py").write_text("SCALE = 2\n")
    (copied / "mine.py").write_text(
        "from helper import SCALE\nfrom ttsnap.rewards.clip import PickScore\n\n\n"
        "class Mine(PickScore):\n    scale = SCALE\n"
    )
    target = "results/labels/train/0000/mine.h5"
    assert planned(checkout, copied, target) == {"label train 0000 mine"}
    run = [*command(copied, target)]
    run[run.index("--snakefile") + 1] = str(checkout / "Snakefile")
    done = subprocess.run(run, capture_output=True, cwd=copied, env=os.environ | {"PYTHONPATH": str(checkout)})
    assert done.returncode == 0, done.stderr
    assert planned(checkout, copied, target) == set()
    for name in ("mine.py", "helper.py"):
        text = (copied / name).read_text()
        (copied / name).write_text(text + "# edited\n")
        assert planned(checkout, copied, target) == {"label train 0000 mine"}, name
        (copied / name).write_text(text)
