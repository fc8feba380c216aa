"""The folder of a search: an image, a strip and a trace for each prompt, and their summary.

    images/NAME.png  strips/NAME.png  traces/NAME.json   the same bytes in every run
    seconds/NAME.json                                    times, which differ and so are kept apart
    summary.json     seconds.json                        of all prompts
    measured.json                                        the times that converted a budget in seconds

The trace is written last and names its settings: a prompt is finished when its trace has the settings of the run. NAME
depends on the prompt alone, so that prompts may be added or moved.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from ttsnap.errors import foreign_content
from ttsnap.search.core import SearchResult
from ttsnap.search.plan import SearchPlan
from ttsnap.search.strip import strip
from ttsnap.storage.files import read_json, replacing, write_json
from ttsnap.storage.prompts import file_name


def fingerprint(settings: dict) -> str:
    """A digest of everything that a search's results depend on."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def trace(result: SearchResult, plan: SearchPlan, settings: str, accepted: bool | None) -> dict:
    """The record of one prompt: every look, the pick, TFLOP by part, and no times."""
    judged = {} if accepted is None else {"accepted": accepted}
    return {
        "prompt": result.prompt,
        "settings": settings,
        "pick": {"candidate": result.pick, "rewards": result.rewards, **judged},
        "spent_tflop": plan.spent(result.evaluations, result.readings, result.finals, result.drafts),
        "evaluations": result.evaluations,
        **({"drafts": result.drafts} if result.drafts else {}),
        "readings": result.readings,
        "looks": [
            {
                "draft" if isinstance(look.at, str) else "step": look.at,
                "weights": {name: "noise_aware" if aware else "base" for name, aware in look.noise_aware.items()},
                "candidates": look.ids,
                "rewards": {name: values.tolist() for name, values in look.rewards.items()},
                "rank": look.rank.tolist(),
                "kept": look.kept,
                "dropped": sorted(set(look.ids) - set(look.kept)),
            }
            for look in result.looks
        ],
    }


class Folder:
    """Reads and writes the folder."""

    def __init__(self, path: str | Path):
        self.path = Path(path)

    def finished(self, prompt: str, settings: str) -> tuple[dict, dict] | None:
        """(trace, seconds) of a prompt searched with these settings; None for any other."""
        name = file_name(prompt)
        pictures = [self.path / f"{kind}/{name}.png" for kind in ("images", "strips")]
        trace, seconds = (self.path / f"{kind}/{name}.json" for kind in ("traces", "seconds"))
        if not all(file.is_file() for file in (*pictures, trace, seconds)):
            return None
        with foreign_content(trace, "the trace of a search", "delete it to search the prompt again"):
            content = read_json(trace)
            same = content.get("settings") == settings and content.get("prompt") == prompt
            return (content, read_json(seconds)) if same else None

    def save(self, result: SearchResult, content: dict) -> None:
        """Write the result of one prompt, its trace last."""
        name = file_name(result.prompt)
        trace = self.path / f"traces/{name}.json"
        trace.unlink(missing_ok=True)  # an older one must not vouch for new pictures
        for kind, picture in (("images", Image.fromarray(result.image)), ("strips", strip(result))):
            with replacing(self.path / f"{kind}/{name}.png") as temporary:
                picture.save(temporary, "PNG")
        write_json(self.path / f"seconds/{name}.json", result.seconds)
        write_json(trace, content)

    def drop_others(self, prompts: Sequence[str]) -> None:
        """Remove the results of all other prompts."""
        names = {file_name(prompt) for prompt in prompts}
        for kind in ("images", "strips", "traces", "seconds"):
            for path in self.path.glob(f"{kind}/[!.]*"):
                if path.stem not in names:
                    path.unlink()

    def measured(self, settings: dict) -> dict | None:
        """Times and numbers of candidates that a run with the same settings measured here; None without one."""
        file = self.path / "measured.json"
        if not file.is_file():
            return None
        with foreign_content(file, "what a search measured", "delete this file"):
            before = read_json(file)
            return before["measured"] if before.get("settings") == settings else None

    def save_measured(self, settings: dict, measured: dict) -> None:
        """Keep what was measured for a rerun."""
        write_json(self.path / "measured.json", {"settings": settings, "measured": measured})


def overspent(seconds: list[dict], plan: SearchPlan) -> str | None:
    """A note on the prompts that took longer than a budget in seconds; None if none did."""
    totals = [parts["total"] for parts in seconds]
    if plan.unit != "seconds" or max(totals) <= plan.budget:
        return None
    count = sum(total > plan.budget for total in totals)
    return (
        f"{count} of {len(seconds)} prompts took longer than the budget of {plan.budget:g} s,"
        f" up to {max(totals):.3g} s: the machine was slower than during the measurement"
    )


def timing(seconds: list[dict], plan: SearchPlan) -> dict:
    """The content of seconds.json; `seconds`: of each prompt, by part."""
    mean = {part: sum(times[part] for times in seconds) / len(seconds) for part in seconds[0]}
    return {"mean": mean, "measured_first": plan.measured, "prompts": seconds}


def summarise(rows: list[dict], settings: dict, plan: SearchPlan, notes: list[str]) -> dict:
    """The content of summary.json; `rows`: the traces, in the order of the prompts."""

    def mean(values: list) -> float:
        return float(min(sum(values) / len(values), max(values)))  # rounding must not lift it above them

    picks, spent = [row["pick"] for row in rows], [row["spent_tflop"] for row in rows]
    means = {
        "rewards": {name: mean([pick["rewards"][name] for pick in picks]) for name in picks[0]["rewards"]},
        "spent_tflop": {part: mean([parts[part] for parts in spent]) for part in spent[0]},
    }
    if "accepted" in picks[0]:
        means["accepted"] = mean([pick["accepted"] for pick in picks])
    return {
        "settings": settings,
        "candidates": plan.candidates,
        "budget_tflop": plan.limit(),
        "mean": means,
        "notes": notes,
        "prompts": [
            {
                "prompt": row["prompt"],
                "file": file_name(row["prompt"]),
                **row["pick"],
                "spent_tflop": row["spent_tflop"]["total"],
            }
            for row in rows
        ],
    }
