"""What a forced stage forgets, so that it does not give the old result back."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from ttsnap.workflow.forced import BESIDE, STATES, forget, is_forced, kept_files


def settings(**given) -> SimpleNamespace:
    values = {"forceall": False, "forcerun": set(), "forcetargets": False, "targets": set()}
    return SimpleNamespace(**values | given)


def job(rule: str, output: list[str], **wildcards) -> SimpleNamespace:
    return SimpleNamespace(rule=SimpleNamespace(name=rule), output=output, wildcards_dict=wildcards)


@pytest.mark.parametrize(
    ("given", "forced"),
    [
        ({}, False),
        ({"forceall": True}, True),
        ({"forcerun": {"generate"}}, True),
        ({"forcerun": {"label"}}, False),
        ({"forcerun": {"results/images/test/0000.h5"}}, True),
        ({"forcerun": {"./results/images/test/0000.h5"}}, True),
        ({"forcerun": {"results/images/test/0001.h5"}}, False),
        ({"forcetargets": True, "targets": {"results/images/test/0000.h5"}}, True),
        ({"forcetargets": True}, False),
        ({"targets": {"results/images/test/0000.h5"}}, False),
    ],
)
def test_who_is_forced(given, forced):
    found = job("generate", ["results/images/test/0000.h5"], split="test", shard="0000")
    assert is_forced(found, settings(**given)) == forced


WILDCARDS = {
    "split": "test",
    "shard": "0000",
    "reward": "pickscore",
    "level": "5",
    "seed": "0",
    "way": "assigned",
    "cycle": "1",
}
KEPT = {
    "generate": ["results/state/images/test.0000.12ab.h5"],
    "draft": ["results/state/drafts/test.0000.12ab.h5"],
    "finetune": ["results/state/finetune/pickscore.5.pt"],
    "sft_train": ["results/state/sft/0.assigned.1.pt"],
    "search": ["out/measured.json", "out/traces/12.json"],
    "assign": ["out/blocks/12.safetensors"],
    "probe": ["out/blocks/12.safetensors"],
}


def test_every_rule_that_keeps_something_is_tried():
    assert KEPT.keys() == STATES.keys() | BESIDE.keys()


@pytest.mark.parametrize("rule", KEPT)
def test_a_forced_job_forgets_its_own_state_alone(tmp_path, monkeypatch, rule):
    monkeypatch.chdir(tmp_path)
    others = [name.replace("0000", "0001").replace(".5.", ".2.").replace("out/", "other/") for name in KEPT[rule]]
    others = [name.replace("sft/0.", "sft/1.") for name in others]
    for name in [*KEPT[rule], *others]:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    ran = job(rule, ["out/summary.json"], **WILDCARDS)
    assert [str(path) for path in kept_files(ran)] == sorted(KEPT[rule])
    assert forget([ran], settings(forcerun={"shard"})) == []
    assert len(forget([ran], settings(forcerun={rule}))) == len(KEPT[rule])
    assert not any(Path(name).exists() for name in KEPT[rule])
    assert all(Path(name).exists() for name in others)
