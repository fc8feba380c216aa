"""The folder of a search: a picture, a strip and a trace for each prompt, and what they sum up to.

    images/NAME.png  strips/NAME.png  traces/NAME.json   the same bytes whenever it is run
    seconds/NAME.json                                    what was measured, apart from those
    summary.json     seconds.json                        of all prompts

The trace is written last and names its settings: a prompt is finished when its trace has the
settings of the run. NAME is made of the prompt alone, so that prompts may be added or moved.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from ttsnap.errors import foreign_content
from ttsnap.search.core import Found
from ttsnap.search.plan import Plan
from ttsnap.search.strip import strip
from ttsnap.storage.files import read_json, replacing, write_json
from ttsnap.storage.prompts import file_name


def fingerprint(settings: dict) -> str:
    """A digest of everything that a search's results depend on."""
    text = json.dumps(settings, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def trace(found: Found, plan: Plan, settings: str, accepted: bool | None) -> dict:
    """What is written of one prompt: every look, the pick, TFLOP by part. Nothing that was timed."""
    pick = {"candidate": found.pick, "rewards": found.rewards}
    if accepted is not None:
        pick["accepted"] = accepted
    return {
        "prompt": found.prompt,
        "settings": settings,
        "pick": pick,
        "spent_tflop": plan.spent(found.evaluations, found.readings),
        "evaluations": found.evaluations,
        "readings": found.readings,
        "looks": [
            {
                "step": look.step,
                "weights": {
                    name: "noise_aware" if aware else "base"
                    for name, aware in look.noise_aware.items()
                },
                "candidates": look.ids,
                "rewards": {name: values.tolist() for name, values in look.rewards.items()},
                "rank": look.rank.tolist(),
                "kept": look.kept,
                "dropped": sorted(set(look.ids) - set(look.kept)),
            }
            for look in found.looks
        ],
    }


class Folder:
    """Reads and writes the folder."""

    def __init__(self, path: str | Path):
        self.path = Path(path)

    def finished(self, prompt: str, settings: str) -> tuple[dict, dict] | None:
        """(trace, seconds) of a prompt that was searched with these settings; None when it was not."""
        name = file_name(prompt)
        files = [self.path / f"{kind}/{name}.png" for kind in ("images", "strips")]
        trace, seconds = (self.path / f"{kind}/{name}.json" for kind in ("traces", "seconds"))
        if not all(file.is_file() for file in (*files, trace, seconds)):
            return None
        with foreign_content(
            trace, "the trace of a search", "delete it, and the prompt is searched again"
        ):
            content = read_json(trace)
            same = content.get("settings") == settings and content.get("prompt") == prompt
            return (content, read_json(seconds)) if same else None

    def save(self, found: Found, content: dict) -> None:
        """Write what was found of one prompt, its trace last."""
        name = file_name(found.prompt)
        self._trace(name).unlink(missing_ok=True)  # an older one must not vouch for new pictures
        for kind, picture in (("images", Image.fromarray(found.image)), ("strips", strip(found))):
            with replacing(self.path / f"{kind}/{name}.png") as temporary:
                picture.save(temporary, "PNG")
        write_json(self.path / f"seconds/{name}.json", found.seconds)
        write_json(self._trace(name), content)

    def drop_others(self, prompts: Sequence[str]) -> None:
        """Remove what is there of prompts that are none of these."""
        names = {file_name(prompt) for prompt in prompts}
        for kind in ("images", "strips", "traces", "seconds"):
            for path in self.path.glob(f"{kind}/[!.]*"):
                if path.stem not in names:
                    path.unlink()

    def _trace(self, name: str) -> Path:
        return self.path / f"traces/{name}.json"


def overspent(seconds: list[dict], plan: Plan) -> str | None:
    """A note on the prompts that took longer than a budget in seconds; None where none did."""
    longest = max(of["total"] for of in seconds)
    if plan.unit != "seconds" or longest <= plan.budget:
        return None
    count = sum(of["total"] > plan.budget for of in seconds)
    return (
        f"{count} of {len(seconds)} prompts took longer than the budget of {plan.budget:g} s, up to {longest:.3g} s: "
        "the machine was slower than when it was measured"
    )


def summarise(rows: list[dict], settings: dict, plan: Plan, notes: list[str]) -> dict:
    """What summary.json says; `rows` are the traces in the order of the prompts."""
    count = len(rows)

    def mean(values) -> float:
        values = list(values)
        return float(min(sum(values) / count, max(values)))  # not over it by a last digit

    means = {
        "rewards": {
            name: mean(row["pick"]["rewards"][name] for row in rows)
            for name in rows[0]["pick"]["rewards"]
        },
        "spent_tflop": {
            part: mean(row["spent_tflop"][part] for row in rows) for part in rows[0]["spent_tflop"]
        },
    }
    if "accepted" in rows[0]["pick"]:
        means["accepted"] = mean(row["pick"]["accepted"] for row in rows)
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
