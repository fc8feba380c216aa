"""`snakemake --report results/report.zip`, which docs/start.md recommends for runs with many figures."""

import zipfile

import torch
from small_run import snakemake


def test_the_zip_holds_every_result_of_the_report(copied):
    run = snakemake(copied, "--report", "results/report.zip")
    assert run.returncode == 0, run.stderr
    with zipfile.ZipFile(copied / "results/report.zip") as packed:
        assert packed.testzip() is None
        sizes = {name.rpartition("/")[2]: packed.getinfo(name).file_size for name in packed.namelist()}
        page = next(name for name in packed.namelist() if name.endswith("report.html"))
        text = packed.read(page).decode()
    shown = {p.name: p.stat().st_size for p in (copied / "results/report").glob("[!.]*.*.*")}
    shown["overview.html"] = (copied / "results/report/overview.html").stat().st_size
    assert len(shown) > 10
    assert {name: sizes.get(name) for name in shown} == shown
    for category in ("1 Overview", "2 Reward and budget", "4 Cost", "6 Real search"):
        assert category in text + "".join(packed.namelist())
    assert "candidates: 6&#10;    shard_size: 2" in text, "the settings, as they were"
    assert f"torch {torch.__version__.partition('+')[0]}" in text and "snakemake 9" in text
