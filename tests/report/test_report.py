"""Figures, tables, gallery and first page, from a small synthetic run."""

import json
import re
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from synthetic_run import LEVELS, make_run, report_parts, run

from ttsnap.cli import main
from ttsnap.pruning.schedule import Schedule, survivors
from ttsnap.report import words
from ttsnap.report.gallery import gallery, looks_survived, picked
from ttsnap.report.summary import search_name, summarise_run, verdict
from ttsnap.report.tables import cost_table, gain_table, levels_table
from ttsnap.simulate.methods import noise_aware_looks
from ttsnap.storage.image_shards import read_shard
from ttsnap.storage.tensor import RewardTensor, read_tensor


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A run with every part of its report made."""
    folder = tmp_path_factory.mktemp("results")
    make_run(folder)
    for command in report_parts(folder).values():
        run(*command)
    run(*summary_command(folder, folder / "report"))
    return folder


def summary_command(folder: Path, out: Path) -> list[str]:
    rewards = ("pickscore", "aesthetic")
    return [
        "report", "--part", "summary",
        "--tensor", *(f"{folder}/tensors/test.{reward}.h5" for reward in rewards),
        "--simulation", *(f"{folder}/simulations/{search}.json" for search in (*rewards, "all")),
        "--alignment", *(f"{folder}/alignment/test.{reward}.json" for reward in rewards),
        "--figure", f"{folder}/report/budget.pickscore.png", "--out", str(out),
    ]  # fmt: skip


def read(folder: Path, name: str) -> dict:
    return json.loads((folder / name).read_text())


def text_of(page: Path) -> str:
    """The visible text of a page."""
    content = re.sub(r"<style>.*?</style>", " ", page.read_text(), flags=re.S)
    return " ".join(re.sub(r"<[^>]+>", " ", content).split())


def pruned_by_hand(tensor: RewardTensor, prompt: int, schedule: Schedule, count: int) -> np.ndarray:
    """At how many looks each candidate is kept, step by step by the pruning rule of docs/method.md."""
    looks = noise_aware_looks(tensor, schedule.looks)[prompt]
    survived, left = np.zeros(count, int), list(range(count))
    for look, keep in enumerate(survivors(count, schedule.keep)):
        left = sorted(left, key=lambda c: -looks[c, look])[:keep]
        survived[left] += 1
    return survived


@pytest.mark.parametrize("count", [1, 2, 7, 20])
def test_looks_survived(folder, count):
    tensor = read_tensor(folder / "tensors/test.pickscore.h5")
    schedule = Schedule((1, 3, 5), (0.6, 0.5, 0.4))  # step 5 has the base reward only
    chosen = picked(tensor, "ttsnap", schedule, count)
    for prompt in range(3):
        survived = looks_survived(tensor, "ttsnap", schedule, count, prompt)
        assert survived.tolist() == pruned_by_hand(tensor, prompt, schedule, count).tolist()
        assert survived[chosen[prompt]] == 3


def test_gallery(folder):
    tensor = read_tensor(folder / "tensors/test.pickscore.h5")
    shards = [read_shard(folder / "images/test/0000.h5")]
    simulation = read(folder, "simulations/pickscore.json")
    shown = gallery(tensor, shards, simulation, prompts=2, candidates=4)
    assert shown["finished"] == 4 < shown["started"] <= 20
    assert 0.75 * shown["budget"] < shown["spent"] <= shown["budget"]
    for number, prompt in enumerate(shown["prompts"]):
        final = tensor.base[number, :, -1]
        assert prompt["prompt"] == tensor.prompts[number]
        assert prompt["picks"]["best_of_n"]["reward"] == final[:4].max()
        assert len(prompt["strips"]) == shown["started"]
        (pick,) = [strip for strip in prompt["strips"] if strip["pick"]]
        assert pick["finished"] and pick["reward"] == prompt["picks"]["ttsnap"]["reward"]
        finished = [strip["reward"] for strip in prompt["strips"] if strip["finished"]]
        assert pick["reward"] == max(finished)
        for strip in prompt["strips"]:
            kept = [look["kept"] for look in strip["looks"]]
            assert all(kept[:-1]) and kept[-1] == strip["finished"]


def test_gallery_without_pruning_still_shows_strips(folder):
    tensor = read_tensor(folder / "tensors/test.pickscore.h5")
    simulation = read(folder, "simulations/pickscore.json")
    simulation["schedules"]["ttsnap"] = {"steps": [], "keep": []}
    shards = [read_shard(folder / "images/test/0000.h5")]
    shown = gallery(tensor, shards, simulation, prompts=1, candidates=4)
    assert shown["started"] == shown["finished"] == 4
    assert shown["outcome"] == {"higher": 0, "equal": 1, "lower": 0}
    assert [len(strip["looks"]) for strip in shown["prompts"][0]["strips"]] == [4] * 4


def test_pages_are_self_contained(folder):
    pages = sorted((folder / "report").glob("*.html"))
    assert len(pages) == 5
    for page in pages:
        content = page.read_text()
        assert not re.search(r'(src|href)="(?!data:|#)', content), page
        assert "<script" not in content and "nan" not in text_of(page).lower().split()
    assert (folder / "report/gallery.pickscore.html").stat().st_size < 1_000_000


def test_prompts_are_escaped_and_may_be_long(folder):
    tensor = read_tensor(folder / "tensors/test.pickscore.h5")
    shard = read_shard(folder / "images/test/0000.h5")
    shard.prompts[0] = tensor.prompts[0] = "<script>alert(1)</script> 猫 " + "x" * 10_000
    simulation = read(folder, "simulations/pickscore.json")
    from ttsnap.report.pages import render

    page = render("gallery", **gallery(tensor, [shard], simulation, 1, 2))
    assert "<script" not in page and "&lt;script&gt;" in page and "猫" in page


def test_figures_are_png_with_reproducible_bytes(folder, tmp_path):
    for name in ("budget.pickscore.png", "tau.pickscore.png"):
        command = report_parts(folder)[name]
        again = tmp_path / name
        run(*command[:-1], str(again))
        content = (folder / "report" / name).read_bytes()
        width, height = struct.unpack(">II", content[16:24])
        assert min(width, height) > 400 and again.read_bytes() == content
        assert b"tEXt" not in content


def test_pages_have_reproducible_bytes(folder, tmp_path):
    run(*summary_command(folder, tmp_path))
    for name in ("overview.html", "summary.json", "headline.txt"):
        assert (tmp_path / name).read_bytes() == (folder / "report" / name).read_bytes()


def test_figure_without_checker_levels_and_values(folder, tmp_path):
    simulation = read(folder, "simulations/pickscore.json")
    for curve in simulation["methods"].values():
        for key in ("accepted", "accepted_low", "accepted_high"):
            del curve[key]
        curve["reward"][-1] = curve["low"][-1] = curve["high"][-1] = None
    alignment = read(folder, "alignment/test.pickscore.json")
    for row in alignment["steps"]:
        row["noise_aware"] = row["tau_difference"] = None
    for name, value, part in (("s", simulation, "budget"), ("a", alignment, "tau")):
        (tmp_path / f"{name}.json").write_text(json.dumps(value))
        option = {"budget": "--simulation", "tau": "--alignment"}[part]
        out = str(tmp_path / f"{part}.png")
        run("report", "--part", part, option, str(tmp_path / f"{name}.json"), "--out", out)
        assert Path(out).stat().st_size > 10_000


def test_levels_table_shows_where_the_start_was_kept(folder):
    alignment = read(folder, "alignment/test.pickscore.json")
    levels = [read(folder, f"levels/pickscore/{level}.json") for level in LEVELS]
    table = levels_table(alignment, levels)
    assert [row["step"] for row in table["rows"]] == sorted(LEVELS)
    assert table["kept_start"] == [4]
    text = text_of(folder / "report/levels.pickscore.html")
    assert "At step 4" in text and "start kept" in text and "0.400 → 0.390" in text
    assert "each from the weights of the one before" in " ".join(text.split()) and "Finetuned further" not in text


def test_levels_table_shows_what_was_finetuned_further(folder, tmp_path):
    """From a checkpoint of the same look, in place of that of the level before."""
    paths = []
    for level in LEVELS:
        paths.append(str(tmp_path / f"{level}.json"))
        figures = read(folder, f"levels/pickscore/{level}.json") | {"start": level}
        Path(paths[-1]).write_text(json.dumps(figures))
    out, alignment = tmp_path / "levels.html", str(folder / "alignment/test.pickscore.json")
    run("report", "--part", "levels", "--alignment", alignment, "--level", *paths, "--out", str(out))
    text = " ".join(text_of(out).split())
    assert "Finetuned further" in text and "each from the weights of the one before" not in text


def test_cost_table(folder):
    simulation = read(folder, "simulations/pickscore.json")
    tensor = read_tensor(folder / "tensors/test.pickscore.h5")
    table = cost_table(simulation, [tensor])
    costs = dict(table["parts"])
    assert costs["one look: decode and read"] == pytest.approx(0.002)
    assert table["methods"][0]["cost"] == pytest.approx(10 * 0.0021 + 0.002)
    assert [cells[0][0] for _, cells in table["budgets"]] == list(range(2, 9))
    assert "2.10 GFLOP" in text_of(folder / "report/cost.pickscore.html")


def test_gain_table_never_hides_a_fallback(folder, tmp_path):
    simulation = read(folder, "simulations/pickscore.json")
    simulation["fallback_looks"] = [5]
    assert gain_table(simulation, [])["fallback_looks"] == [5]
    (tmp_path / "s.json").write_text(json.dumps(simulation))
    out = tmp_path / "gain.html"
    run("report", "--part", "gain", "--simulation", str(tmp_path / "s.json"), "--out", str(out))
    assert "At step 5 of its schedule TTSnap read the base reward" in text_of(out)
    shown = text_of(folder / "report/gain.pickscore.html")
    for gain in simulation["gain"].values():
        assert words.percent(gain["value"], 1, True) in shown


def test_summary(folder):
    summary = read(folder, "report/summary.json")
    simulation = read(folder, "simulations/pickscore.json")
    assert list(summary["searches"]) == ["pickscore", "aesthetic", "all"]
    search = summary["searches"]["pickscore"]
    assert search["gain"]["ttsnap"]["low"] == simulation["gain"]["ttsnap"]["low"]
    assert search["tau"]["level"] == min(LEVELS)
    assert search["largest"]["candidates"] == 8 and search["middle"]["candidates"] == 5
    curve = simulation["methods"]["ttsnap"]
    assert search["largest"]["ttsnap"]["accepted"]["value"] == curve["accepted"][-1]
    tensor = read_tensor(folder / "tensors/test.pickscore.h5")
    assert summary["accepted_single"] == pytest.approx(tensor.accepted[:, :, -1].mean())
    headline = (folder / "report/headline.txt").read_text()
    assert words.gain(search["gain"]["ttsnap"]) in headline
    overview = text_of(folder / "report/overview.html")
    assert words.percent(search["gain"]["ttsnap"]["value"], 1, True) in overview
    assert "with it (TTSnap)" in overview


def test_summary_takes_the_largest_budget_at_which_all_are_simulated(folder):
    simulation = read(folder, "simulations/pickscore.json")
    simulation["methods"]["ttsnap"]["reward"][-1] = None
    tensor = read_tensor(folder / "tensors/test.pickscore.h5")
    summary = summarise_run([tensor], [simulation], [])
    assert summary["searches"]["pickscore"]["largest"]["candidates"] == 7
    assert search_name(read(folder, "simulations/all.json")) == "all"


@pytest.mark.parametrize(
    "low, high, difference, steps, says",
    [
        (0.1, 0.3, (0.01, 0.2), [2], "beats TTSp"),
        (0.1, 0.3, (-0.1, 0.2), [2], "do not tell"),
        (0.1, 0.3, (-0.2, -0.1), [2], "gains more"),
        (-0.1, 0.3, (0.1, 0.2), [2], "includes 0"),
        (-0.3, -0.1, (0.1, 0.2), [2], "is worse"),
        (-0.1, 0.1, (-0.1, 0.1), [], "prunes nothing"),
        (0.1, 0.3, (0.0, 0.0), [9], "as does TTSp"),
    ],
)
def test_verdict_claims_no_more_than_the_intervals_support(low, high, difference, steps, says):
    search = {
        "gain": {"ttsnap": {"value": (low + high) / 2, "low": low, "high": high}},
        "gain_difference": dict(zip(("low", "high"), difference, strict=True)),
        "schedules": {
            method: {"steps": looks, "keep": [0.5] * len(looks)} for method, looks in (("ttsnap", steps), ("ttsp", [9]))
        },
        "fallback_looks": [9],
    }
    assert says in verdict(search)


def without_intervals(value):
    """A result whose figures have no interval, as where some resamples leave nothing to compare."""
    if isinstance(value, list):
        return [without_intervals(item) for item in value]
    if not isinstance(value, dict):
        return value
    ends = dict.fromkeys({"low", "high"} & set(value)) if "value" in value and np.isscalar(value["value"]) else {}
    return {key: without_intervals(item) for key, item in value.items()} | ends


def test_every_part_is_made_of_figures_without_intervals(folder, tmp_path):
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    for path in [*copy.glob("simulations/*.json"), *copy.glob("alignment/*.json")]:
        path.write_text(json.dumps(without_intervals(json.loads(path.read_text()))))
    assert read(copy, "simulations/pickscore.json")["gain_difference"]["ttsnap_minus_ttsp"]["low"] is None
    for command in report_parts(copy).values():
        run(*command)
    run(*summary_command(copy, copy / "report"))
    assert "not clearly different" in text_of(copy / "report/gain.pickscore.html")
    assert "not clearly better or worse" in text_of(copy / "report/overview.html")


def test_numbers_in_words():
    assert words.flop(21.5) == "21.5 TFLOP"
    assert words.flop(0.0021) == "2.10 GFLOP"
    assert words.flop(4300) == "4.30 PFLOP"
    assert words.flop(0) == "0.00 MFLOP"
    assert words.percent(-0.123, 1, True) == "−12.3 %"
    assert words.number(None) == words.number(float("nan")) == "–"
    assert [words.decimals(v) for v in ([20, 24.5], [0.1, 0.11], [3, 3], [None])] == [2, 4, 2, 2]
    told = words.schedule({"steps": [2, 6], "keep": [0.4, 0.125]})
    assert told.replace("\u00a0", " ") == "step 2: keep 40 % · step 6: keep 12.5 %"


@pytest.mark.parametrize(
    "options, says",
    [
        (["--part", "budget"], "--simulation: --part budget needs it"),
        (["--part", "budget", "--simulation", "no.json"], "no.json: no such file"),
        (["--part", "tau", "--alignment", "{f}/simulations/all.json"], "ttsnap align --json"),
        (["--part", "gallery", "--images", "x.h5"], "x.h5: no such file"),
    ],
)
def test_bad_input_is_one_line(folder, tmp_path, capsys, options, says):
    options = [option.format(f=folder) for option in options]
    assert main(["report", *options, "--out", str(tmp_path / "x")]) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1
