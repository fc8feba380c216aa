"""The report in a real browser: Debian's chromium, headless.

The workflow's own report is expected at $TTSNAP_REPORT, by default results/report.html from `make demo`.
"""

import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from synthetic_run import make_run, report_parts, run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
REPORT = Path(os.environ.get("TTSNAP_REPORT", "results/report.html"))
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--enable-logging=stderr", "--virtual-time-budget=20000",
]  # fmt: skip

# Harmless messages of Snakemake's own page, which log levels do not tell apart
NO_ERROR = ["cdn.tailwindcss.com should not be used in production"]

# Appended to a page: after loading and running ACT, records the sizes of its pictures, how far the page overflows its
# window, and what ACT saw.
PROBE = """<script>
addEventListener("load", async () => {
  const pause = time => new Promise(done => setTimeout(done, time)), seen = [];
  const pictures = () => [...document.images].map(i => i.complete ? i.naturalWidth : 0);
  await pause(2000);
  ACT
  const found = document.createElement("pre");
  found.id = "found-by-the-test";
  found.textContent = JSON.stringify({
    sizes: pictures(), over: document.documentElement.scrollWidth - innerWidth, width: innerWidth,
    text: document.body.innerText, seen,
  });
  top.document.body.append(found);
});
</script>"""

# Follows every link of the first page, returning through the menu each time
FOLLOW = """
for (let n = 0; n < document.querySelectorAll(".pages a").length; n++) {
  const link = document.querySelectorAll(".pages a")[n];
  link.click();
  await pause(300);
  const page = document.querySelector("#app iframe");
  const shown = page ? atob(page.src.split(",")[1]).length : pictures().pop();
  seen.push([link.innerText, shown]);
  app.setView({content: "rulegraph", navbarMode: "menu"});
  await pause(300);
}
"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (apt-get install chromium)")


def look_at(page: Path, folder: Path, width: int = 1280, act: str = "") -> dict:
    """Open a page, run the JavaScript `act`, and return PROBE's record with the console's "errors"."""
    probed = folder / f"{page.stem}.{width}.html"
    before, _, after = page.read_text(encoding="utf-8").rpartition("</body>")
    content = before + PROBE.replace("ACT", act) + "</body>" + after
    if width < 500:  # chromium's own window is never narrower
        content = f'<body><iframe width="{width}" height="800" srcdoc="{html.escape(content)}">'
    probed.write_text(content, encoding="utf-8")
    done = subprocess.run(
        [CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'profile'}", "--window-size=1280,900",
         "--dump-dom", probed.resolve().as_uri()],
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = re.search(r'<pre id="found-by-the-test">(.*?)</pre>', done.stdout, re.S)
    assert found, "the page never finished loading:\n" + done.stderr
    result = json.loads(html.unescape(found[1]))
    lines = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    result["errors"] = [line for line in lines if not any(text in line for text in NO_ERROR)]
    return result


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    make_run(folder, rewards=("pickscore",))
    for command in report_parts(folder).values():
        run(*command)
    run(
        "report", "--part", "summary", "--tensor", f"{folder}/tensors/test.pickscore.h5",
        "--simulation", f"{folder}/simulations/pickscore.json",
        "--alignment", f"{folder}/alignment/test.pickscore.json",
        "--figure", f"{folder}/report/budget.pickscore.png", "--out", f"{folder}/report",
    )  # fmt: skip
    return folder / "report"


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize(
    "name, says, pictures",
    [
        ("overview", "The best image for a prompt, out of a fixed amount of compute", 1),
        ("gallery.pickscore", "what it dropped", 30),
        ("gain.pickscore", "Gain over best-of-N: pickscore", 0),
        ("levels.pickscore", "Noise-aware levels: pickscore", 0),
        ("cost.pickscore", "What it costs: pickscore", 0),
    ],
)
def test_page(pages, tmp_path, name, says, pictures, width):
    found = look_at(pages / f"{name}.html", tmp_path, width)
    assert says in found["text"]
    assert len(found["sizes"]) >= pictures and all(found["sizes"])
    assert found["width"] == width and found["over"] <= 0, "the page is wider than its window"
    assert found["errors"] == []


needs_report = pytest.mark.skipif(
    not REPORT.is_file(), reason=f"no {REPORT}: run `make demo` first, or set TTSNAP_REPORT"
)


@needs_report
@pytest.mark.parametrize("width", [1280, 390])
def test_report_opens_on_the_results(tmp_path, width):
    found = look_at(REPORT, tmp_path, width)
    assert found["width"] == width and found["over"] <= 0, "the report is wider than its window"
    assert "The best image for a prompt, out of a fixed amount of compute" in found["text"]
    assert "gain Ω of TTSnap" in found["text"] and "Where to look next" in found["text"]
    assert found["sizes"] and all(found["sizes"])
    assert found["errors"] == []


@needs_report
def test_report_leads_to_every_result(tmp_path):
    found = look_at(REPORT, tmp_path, act=FOLLOW)
    seen = dict(found["seen"])
    assert all(seen.values()) and found["errors"] == []
    for result in ("reward against budget", "gain and schedules", "Kendall τ", "dropped where"):
        assert any(result in link for link in seen), result
