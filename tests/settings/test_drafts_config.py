"""Drafts in the config and on command lines: what is read, and what is refused in one line with the key."""

import json

import pytest
from test_config import changed, values  # noqa: F401  a fixture

from ttsnap.cli import main, parse
from ttsnap.errors import BadInput
from ttsnap.pruning.schedule import Schedule
from ttsnap.settings.command_line import arguments
from ttsnap.settings.config import parse_config
from ttsnap.workflow.checks import check_files

FEW, ONESTEP = {"steps": 5, "guidance": 1.0}, {"steps": 1, "model": "embedded:shapes-onestep"}


@pytest.fixture
def drafted(values):  # noqa: F811
    """The default config with these two drafts, of which one is a level, and no decoder of looks."""
    return values | {
        "drafts": {"few": dict(FEW), "onestep": dict(ONESTEP)}, "levels": [7, 5, 4, "few"], "looks": {}
    }  # fmt: skip


def test_drafts_and_levels_are_read(drafted):
    config = parse_config(drafted)
    assert list(config.drafts) == ["few", "onestep"] and config.drafts["few"].steps == 5
    assert config.level_drafts == ["few"] and config.level_steps == [7, 5, 4]
    assert config.drafts["few"].model is config.drafts["few"].lora is config.looks.decoder is None


def test_without_drafts_there_are_none(values):  # noqa: F811
    config = parse_config(values | {"drafts": {}, "levels": [7]})
    assert config.drafts == {} and config.level_drafts == []


def test_a_draft_set_to_null_is_left_out(drafted):
    assert list(parse_config(changed(drafted, "drafts.onestep", None)).drafts) == ["few"]
    with pytest.raises(BadInput, match="levels: 'few' is neither a step nor a draft; there are onestep"):
        parse_config(changed(drafted, "drafts.few", None))


BOTH = {"looks": ["few", 5], "steps": [5], "keep": [0.5, 0.5]}
REFUSED = [
    ("drafts.few", {"steps": 0}, "drafts.few.steps: "),
    ("drafts.few", {"steps": 10**6}, "drafts.few.steps: "),
    ("drafts.few", {"steps": 20}, "drafts.few.steps: 20 steps cost no less than the full run of 20; give fewer"),
    ("drafts.few", {"steps": 25, "guidance": 9}, "drafts.few.steps: 25 steps cost no less"),
    ("drafts.few", {"steps": 20, "lora": "a.safetensors"}, "drafts.few.steps: 20 steps cost no less"),
    ("drafts.few", {}, "drafts.few.steps: is missing"),
    ("drafts.few", {"steps": 2, "stps": 1}, "drafts.few.stps: unknown key"),
    ("drafts.few", {"steps": 2, "model": "a/b", "lora": "c"}, "drafts.few: lora: is switched on the model's own"),
    ("drafts.few", {"steps": 2, "guidance": -1}, "drafts.few.guidance: "),
    ("drafts.few", {"steps": 2, "solver": "heun"}, "drafts.few.solver: "),
    ("drafts.Few", {"steps": 2}, "drafts: String should match pattern"),
    ("levels", [7, "many"], "levels: 'many' is neither a step nor a draft; there are few, onestep"),
    ("levels", ["few", 7, "few"], "levels: few stands twice; give each level once"),
    ("levels", ["few", 3, 7], "levels: [3, 7] must descend"),
    ("levels", ["few", 7.5], "levels.1: '7.5' is neither a step, 0 to 1000, nor the name of a draft"),
    ("levels", ["few", True], "levels.1: 'True' is neither a step"),
    ("rewards.pickscore.finetune.lr_at", {"onestep": 1e-5}, "rewards.pickscore.finetune.lr_at: onestep is not one"),
    ("simulate.schedule", {"looks": ["many"], "keep": [0.5]}, "simulate.schedule: 'many' is neither a step nor a"),
    ("simulate.schedule", {"looks": [3, "few"], "keep": [0.5] * 2}, "simulate.schedule: step 3 stands before a draft"),
    ("simulate.schedule", {"looks": ["few"] * 2, "keep": [0.5] * 2}, "simulate.schedule: looks at draft few twice"),
    ("simulate.schedule", {"looks": ["few", 5], "keep": [0.5]}, "simulate.schedule: 2 looks but 1 keep fractions"),
    ("simulate.schedule", {"looks": ["few", 19], "keep": [0.5] * 2}, "simulate.schedule: step 19 is outside 0..18"),
    ("simulate.schedule", BOTH, "steps: is another name of looks; give one of them"),
    ("model.negtome", {}, "drafts: with NegToMe a candidate depends on its group"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value", "says"), REFUSED)
def test_a_bad_config_is_refused_in_one_line_with_the_key(drafted, key, value, says):
    with pytest.raises(BadInput) as caught:
        parse_config(changed(drafted, key, value), "config.yaml")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


FILES = [
    ({"steps": 2, "model": "nowhere"}, "drafts.few.model: 'nowhere': no such folder"),
    ({"steps": 2, "model": "docs"}, "drafts.few.model: docs: no model_index.json"),
    ({"steps": 2, "lora": "nowhere.safetensors"}, "drafts.few.lora: nowhere.safetensors: no such file"),
    ({"steps": 2, "lora": "config.yaml"}, "drafts.few.lora: config.yaml is not a .safetensors file"),
]


@pytest.mark.parametrize(("draft", "says"), FILES)
def test_files_of_drafts_are_checked_before_any_job(drafted, draft, says):
    with pytest.raises(BadInput) as caught:
        check_files(parse_config(changed(drafted, "drafts.few", draft)))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_fewer_steps_or_no_guidance_make_a_draft_cheaper(drafted):
    drafted["model"]["guidance"] = 5.0
    for draft in ({"steps": 19}, {"steps": 20, "model": "embedded:shapes-onestep"}):
        parse_config(changed(drafted, "drafts.few", draft))


def test_a_schedule_has_looks_or_by_their_former_name_steps(drafted):
    for key, looks in (("looks", ["few", 5]), ("looks", ["few", "5"]), ("steps", [3, 5])):
        schedule = parse_config(
            changed(drafted, "simulate.schedule", {key: looks, "keep": [0.5, 0.5]})
        ).simulate.schedule
        looks = tuple(look if look == "few" else int(look) for look in looks)
        assert schedule.fixed(20, "here", ["few"]) == Schedule(looks, (0.5, 0.5))


def test_a_schedule_file_has_steps_unless_it_has_drafts():
    for looks, key in (((3, 5), "steps"), (("few", 5), "looks")):
        schedule = Schedule(looks, (0.5, 0.25))
        written = json.loads(json.dumps(schedule.as_json()))
        assert set(written) == {key, "keep"} and Schedule.from_json(written) == schedule


FEW_WORDS = ["--draft", "{name: few, steps: 5}"]
BAD_WORDS = [
    (["--draft", "few"], "--draft: few: give {name: few, steps: 5}"),
    (["--draft", "{steps: 5}"], "--draft: name: is missing"),
    (["--draft", "{name: few}"], "--draft: steps: is missing"),
    (["--draft", "{name: few, steps: 5, stps: 1}"], "--draft: stps: unknown key; did you mean steps?"),
    (["--draft", "{name: few, steps: 5"], "--draft: {name: few, steps: 5: not YAML"),
    (["--draft", "{name: 5, steps: 5}"], "--draft: name: "),
    ([*FEW_WORDS, *FEW_WORDS], "--draft: two are called few; name one otherwise"),
    (["--draft", "{name: few, steps: 5, model: nowhere}"], "--draft: few.model: 'nowhere': no such folder"),
    (["--draft", "{name: few, steps: 1, lora: no.safetensors}"], "--draft: few.lora: no.safetensors: no such file"),
    ([*FEW_WORDS, "--negtome-group", "2"], "--draft: with NegToMe a candidate depends on its group"),
    ([*FEW_WORDS, "--looks", "none,9", "--keep", "0.5,0.5"], "--looks/--keep: 'none' is neither a step nor a draft"),
    ([*FEW_WORDS, "--looks", "9,few", "--keep", "0.5,0.5"], "--looks/--keep: step 9 stands before a draft"),
    ([*FEW_WORDS, "--looks", "few,9"], "--looks/--keep: 2 looks but 3 keep fractions"),
    (["--looks", "few,9", "--keep", "0.5,0.5"], "--looks/--keep: 'few' is neither a step nor a draft; there is none"),
]  # fmt: skip


@pytest.fixture
def words(tmp_path):
    """A search that would be right."""
    (tmp_path / "p.txt").write_text("a red circle\n")
    return ["search", str(tmp_path / "p.txt"), "--out", str(tmp_path / "out"), "--model", "embedded:shapes-sdxl",
            "--kind", "pickscore", "--option", "path=embedded:shapes-clip", "--budget", "9"]  # fmt: skip


@pytest.mark.parametrize(("bad", "says"), BAD_WORDS)
def test_bad_words_are_refused_in_one_line(words, capsys, bad, says):
    assert main([*words, *bad]) == 2
    (error,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("ttsnap ")]
    assert says in error


def test_words_are_read(words):
    onestep = "{name: onestep, steps: 1, guidance: 0, model: embedded:shapes-onestep}"
    _, options = parse([*words, *FEW_WORDS, "--draft", onestep, "--looks", "few,onestep,9", "--keep", "0.5,0.5,0.5"])
    assert options.looks == ["few", "onestep", 9] and list(options.drafts) == ["few", "onestep"]
    draft = options.drafts["onestep"]
    assert (draft.steps, draft.guidance, draft.model) == (1, 0.0, "embedded:shapes-onestep")


def test_the_words_of_a_schedule_are_read_back(drafted):
    drafted["simulate"]["schedule"] = {"looks": ["few", 5], "keep": [0.5, 0.25]}
    schedule = parse_config(drafted).simulate.schedule
    words = arguments(schedule)
    assert words == ["--looks", "few,5", "--keep", "0.5,0.25"]
    _, options = parse(["simulate", "config.yaml", "--budgets", "9", *words])
    assert options.fixed(20, "here", ["few"]) == schedule.fixed(20, "here", ["few"])
