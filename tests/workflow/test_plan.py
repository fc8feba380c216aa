"""What the rules ask of the plan: shards, words of command lines, digests; what jobs ask a cluster for."""

import shlex
from types import SimpleNamespace as Wildcards

import pytest
import torch
from small_run import PROMPTS, small_config, write_inputs

from ttsnap.commands.generate import GenerateOptions
from ttsnap.errors import BadInput
from ttsnap.rewards.levels import save_level
from ttsnap.settings.config import parse_config
from ttsnap.settings.sections import Limits
from ttsnap.settings.sft import Sft
from ttsnap.workflow import cluster
from ttsnap.workflow.plan import Plan, named_inputs
from ttsnap.workflow.sft_plan import SftPlan


@pytest.fixture
def plan(tmp_path, monkeypatch):
    """plan(key=value, …): the plan of the small run with keys of its config changed."""
    monkeypatch.chdir(tmp_path)

    def make(prompts=PROMPTS, **changes) -> Plan:
        config = small_config()
        for section, values in changes.items():
            config[section] = config[section] | values if isinstance(values, dict) else values
        write_inputs(tmp_path, config, prompts)
        return Plan(parse_config(config))

    return make


def test_a_shard_is_known_by_its_prompts(plan):
    before = plan()
    after = plan(PROMPTS | {"test": [*PROMPTS["test"], "a red triangle"]})
    shards = [Wildcards(split="test", shard=f"000{n}") for n in range(3)]
    assert [before.shard_digest(w) for w in shards[:2]] == [after.shard_digest(w) for w in shards[:2]]
    assert before.numbers("test") == ["0000", "0001"] and after.numbers("test")[2:] == ["0002"]
    assert (before.shard_end(shards[1]), after.shard_end(shards[2])) == (4, 5)
    assert len({after.shard_digest(w) for w in shards}) == 3


def test_training_keeps_the_steps_that_it_learns_from(plan):
    made = plan()
    assert made.kept_steps(Wildcards(split="train")) == "--keep-steps 2,5,7"
    assert made.kept_steps(Wildcards(split="test")) == "--keep-steps 0,1,2,3,4,5,6,7"


def test_levels_start_from_the_checkpoints_that_the_config_names(plan, tmp_path):
    level = Wildcards(reward="pickscore", level="2")
    assert plan().level_start(level) is None and plan().level_start_digest(level) is None
    rewards = small_config()["rewards"]
    rewards["pickscore"]["finetune"] |= {"start": "mine/{level}.st"}
    with pytest.raises(BadInput, match=r"^rewards\.pickscore\.finetune\.start: mine/5\.st: no such file"):
        plan(rewards=rewards)
    (tmp_path / "mine").mkdir()
    lora, of_drafts = rewards["pickscore"]["finetune"]["lora"] | {"alpha": 16}, {"few": {"steps": 2}}

    def save(value: float, steps: int = 8) -> None:
        for level in (5, 2, "few"):
            about = {"level": level, "lora": lora, "version": "v", "reward": {}}
            about["images"] = {"steps": steps, "drafts": of_drafts}
            save_level(tmp_path / f"mine/{level}.st", {"x": torch.full((1,), value)}, about)

    save(0.0)
    made = plan(rewards=rewards)
    assert made.level_start(level) == "mine/2.st"
    before = made.level_start_digest(level)
    save(1.0)
    assert plan(rewards=rewards).level_start_digest(level) != before
    assert made.level_start(Wildcards(reward="aesthetic", level="2")) is None
    assert "start" not in made.level_settings(level)
    save(0.0, steps=9)
    with pytest.raises(BadInput, match=r"start: mine/5\.st: made with steps 9, the config with 8"):
        plan(rewards=rewards)
    rewards["pickscore"]["finetune"]["lora"] = {"rank": 2}
    with pytest.raises(BadInput, match=r"has LoRA {.*}, rewards\.pickscore\.finetune\.lora says .*'rank': 2"):
        plan(rewards=rewards)


def test_the_words_of_the_model_say_what_the_config_says(plan, tmp_path):
    from ttsnap.cli import parse

    without = {"drafts": {"few": None}, "levels": [5, 2], "looks": {"decoder": None}}
    made = plan(model={"negtome": {"group": 3}, "slicing": True}, search={"rewards": []}, **without)
    words = shlex.split(made.model(None))
    command = ["generate", "test.txt", "--out", "o.h5", "--candidates", "2", *words]
    _, options = parse(command)
    assert isinstance(options, GenerateOptions)
    assert {key: getattr(options, key) for key in type(made.config.model).model_fields} == dict(made.config.model)


def test_words_with_spaces_stay_one_word(plan):
    made = plan()
    reward = made.config.rewards["pickscore"].model_copy(update={"options": {"path": "my clip"}})
    made.config.rewards["pickscore"] = reward
    assert "path=my clip" in shlex.split(made.reward(Wildcards(reward="pickscore")))


def test_levels_start_from_the_one_before_with_their_own_rate(plan):
    made = plan()
    assert [made.level_before(Wildcards(level=level)) for level in ("5", "2")] == [None, 5]
    reward = small_config()["rewards"]["pickscore"]
    reward["finetune"] |= {"lr_at": {2: 1e-5}, "lora": {"rank": 4}}
    made = plan(rewards={"pickscore": reward})
    settings = [made.level_settings(Wildcards(reward="pickscore", level=n)) for n in ("5", "2")]
    assert ["--lr 0.001" in settings[0], "--lr 1e-05" in settings[1]] == [True, True]
    assert "--lora-rank 4" in settings[0]


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0.875, "--fit-prompts 0:3 --test-prompts 3:4"),
        (0.5, "--fit-prompts 0:2 --test-prompts 2:4"),
        (0.01, "--fit-prompts 0:1 --test-prompts 1:4"),
        (0.99, "--fit-prompts 0:3 --test-prompts 3:4"),
    ],
)
def test_a_schedule_is_fitted_on_a_share_of_the_validation_prompts(plan, share, words):
    assert plan(simulate={"fit_share": share}).fitted_on() == words


def test_fits_count_whole_survivors_unless_told_otherwise(plan):
    assert plan().fit_accounting() == "whole"
    assert plan(simulate={"accounting": "published"}).fit_accounting() == "published"
    assert plan(simulate={"fit_accounting": "exact"}).fit_accounting() == "exact"


def test_a_search_stops_at_the_number_of_prompts_asked_for(plan):
    made = plan(search={"prompts": 3})
    assert made.searches()["shard"] == ["0000", "0001"]
    limits = [made.search_limit(Wildcards(shard=shard)) for shard in ("0000", "0001")]
    assert limits == [2, 1]
    assert plan(search={"prompts": None}).searched() == 4


def test_all_rewards_together_are_one_more_way_to_prune(plan):
    made = plan()
    assert made.pruned_by == ["pickscore", "aesthetic", "all"]
    assert made.tensors_of(Wildcards(pruned_by="all")) == ["pickscore", "aesthetic"]
    assert made.schedule_of(Wildcards(pruned_by="all")) == "pickscore"
    alone = plan(rewards={"aesthetic": None})
    assert alone.pruned_by == ["pickscore"]


def test_named_inputs_are_options(plan):
    given = {"base": "a.h5 b.h5", "noise_aware": "", "accepted": "c.h5"}
    assert named_inputs(None, given) == "--base a.h5 b.h5 --accepted c.h5"


def test_a_job_asks_for_more_with_every_attempt_up_to_the_limit():
    wanted = cluster.asks(Limits(mem_mb=20_000), 8000, 60)
    assert [wanted["mem_mb"](None, attempt) for attempt in (1, 2, 3)] == [8000, 16_000, 20_000]
    assert wanted["runtime"](None, 3) == 180 and wanted["gpu"] == 1
    assert cluster.asks(Limits(gpu=0), 1, 1)["gpu"] == 0
    assert "gpu" not in cluster.asks(Limits(), 1, 1, gpu=False)


def test_a_training_starts_a_process_for_each_gpu():
    assert cluster.launcher(None, {"gpu": 1}) == "python -m"
    assert "--num_processes 3 " in cluster.launcher(None, {"gpu": 3})


def test_slurms_own_words_are_found_for_jobs_of_this_run_alone(tmp_path):
    log = tmp_path / "rule_align" / "1.log"
    log.parent.mkdir()
    log.write_text("ttsnap: …\nslurmstepd-n1: error: Detected 1 oom_kill event\n")
    began = log.stat().st_mtime
    assert list(cluster.slurm_errors(tmp_path, began)) == [f"Slurm said in {log}: Detected 1 oom_kill event"]
    assert not list(cluster.slurm_errors(tmp_path, began + 1))


def sft(**data) -> SftPlan:
    return SftPlan(Sft(data={"limit": 12, "test_limit": 6, "shard_size": 8} | data, cycles=2), BadInput)


def test_targets_are_cut_into_shards_and_held_out_ones_lie_behind():
    made = sft()
    assert made.shards() == ["0000", "0001"]
    assert [made.selection("train", n) for n in (0, 1)] == [("train", 0, 8), ("train", 8, 4)]
    assert made.selection("train") == ("train", 0, 6) and made.selection("test") == ("test", 0, 6)
    behind = sft(split="test", start=2)
    assert behind.extent("test") == ("test", 14, 6)
    assert made.targets("train", 1) == "--data digits --split train --start-index 8 --limit 4"
    with pytest.raises(BadInput, match="sft.data: leaves no test target"):
        sft(split="test", start=359).extent("test")


def test_a_cycle_starts_from_the_model_of_the_cycle_before():
    made = sft()
    assert made.model(0, "assigned", 0) == made.model(0, "base", 2) == "results/sft/gan/0"
    assert made.model_file(0, "random", 1) == ["results/sft/runs/0/random/1/train_summary.json"]
    ways = [("base", 0), ("random", 1), ("random", 2), ("assigned", 1), ("assigned", 2)]
    assert made.compared() == ways
