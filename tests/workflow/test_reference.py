"""Reward tensors of a reference run, named in the config, in place of the run's own."""

import json
import os

import pytest
from small_run import planned, small_config, snakemake, write_inputs

from ttsnap.storage.tensor import read_tensor, sources, write_tensor

REWARDS = ["pickscore", "aesthetic"]
PATTERN = {split: f"given/{split}.{{reward}}.h5" for split in ("validation", "test")}


@pytest.fixture
def given(copied):
    """A finished folder whose config names tensors of three of its prompts as those of a reference run."""
    for split in PATTERN:
        for reward in REWARDS:
            tensor = read_tensor(copied / f"results/tensors/{split}.{reward}.h5").select(slice(0, 3))
            (copied / "given").mkdir(exist_ok=True)
            write_tensor(copied / f"given/{split}.{reward}.h5", tensor)
    write_inputs(copied, small_config() | {"reference": PATTERN})
    return copied


def test_figures_are_of_the_reference_and_the_gallery_of_the_run(given):
    config = small_config() | {"reference": PATTERN}
    del config["rewards"]["aesthetic"]  # in half the time
    write_inputs(given, config)
    before = (given / "results/tensors/test.pickscore.h5").stat()
    assert {"align": 1, "fit_schedule": 3, "simulate": 1, "simulate_own": 1}.items() <= planned(given).items()
    run = snakemake(given)
    assert run.returncode == 0, run.stderr
    assert (given / "results/tensors/test.pickscore.h5").stat() == before
    of_reference = sources([read_tensor(given / "given/test.pickscore.h5")])
    simulation = json.loads((given / "results/simulations/pickscore.json").read_text())
    assert simulation["made_from"] == of_reference
    fitted = json.loads((given / "results/schedules/pickscore.ttsnap.json").read_text())
    assert fitted["made_from"] == sources([read_tensor(given / "given/validation.pickscore.h5")])
    own = json.loads((given / "results/simulations/own/pickscore.json").read_text())
    assert own["made_from"] == sources([read_tensor(given / "results/tensors/test.pickscore.h5")])
    summary = json.loads((given / "results/report/summary.json").read_text())
    assert (summary["prompts"], summary["own"]) == (3, {"prompts": 4, "candidates": 6})
    assert "of a reference run" in (given / "results/report/overview.html").read_text()
    assert not planned(given)
    # By content, not by time
    path = given / "given/test.pickscore.h5"
    os.utime(path)
    assert not planned(given)
    write_tensor(path, read_tensor(path).select(slice(0, 2)))
    again = planned(given)
    assert {"align": 1, "simulate": 1}.items() <= again.items() and "fit_schedule" not in again


FAULTS = {
    "no such file": ({"reference": PATTERN | {"test": "nowhere/{reward}.h5"}}, "reference.test: ", "no such file"),
    "one reward": (
        {"reference": PATTERN | {"test": "given/test.pickscore.h5"}}, "reference.test: ", "pickscore, not aesthetic"
    ),
    "steps": ({"model": {"steps": 9}}, "reference.validation: ", "made with steps 8, the config with 9"),
    "levels": ({"levels": [5]}, "reference.validation: ", "draft few and steps 2, 5, the config's levels are step 5"),
    "prompts of one's own": ({"checker": None}, "reference.validation: ", "holds verdicts of a checker"),
    "a draft": ({"drafts": {"few": {"steps": 3}}}, "reference.validation: ", "drafts few steps 2"),
    "another reward model": (
        {"rewards": {"pickscore": {"options": {"path": "embedded:shapes-sdxl"}}}},
        "reference.validation: ", "made with reward made from options path shapes-clip@"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("change", "key", "says"), FAULTS.values(), ids=FAULTS)
def test_other_tensors_are_refused_in_one_line(given, change, key, says):
    config = small_config() | {"reference": PATTERN}
    for section, values in change.items():
        if not isinstance(values, dict):
            config[section], values = values, {}
        for name, value in values.items():
            config[section] = config[section] | {
                name: config[section][name] | value if isinstance(value, dict) else value
            }
    write_inputs(given, config)
    run = snakemake(given, "--dry-run")
    line = next(line for line in (run.stdout + run.stderr).splitlines() if "config.yaml: " in line)
    assert run.returncode and key in line and says in line
