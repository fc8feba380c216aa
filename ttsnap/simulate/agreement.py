"""What real searches measured, beside what the simulation on the reward tensor predicted for them.

NumPy only. A search is what `ttsnap search` wrote about some prompts: its summary and its seconds.
Intervals are 95 % percentile bootstraps over prompts. The difference measured − predicted is paired
by prompt: the prompt's real draw of candidates against the mean over draws from the tensor's pool, so
that its interval covers the luck of the real draw, and includes 0 where the two agree.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ttsnap.errors import BadInput
from ttsnap.pruning.intervals import mean_with_interval
from ttsnap.pruning.schedule import REAL_METHODS, Schedule
from ttsnap.pruning.units import Units
from ttsnap.simulate.methods import METHODS
from ttsnap.simulate.montecarlo import best_of_n, run_method
from ttsnap.storage.files import read_json
from ttsnap.storage.provenance import check_once, check_same, images_record
from ttsnap.storage.tensor import RewardTensor, check_tensors, names


def read_search(folder: str | Path) -> dict:
    """{"summary", "seconds", "where"} of a folder of `ttsnap search`. Raises BadInput where none was finished there."""
    folder = Path(folder)
    if not (folder / "summary.json").is_file():
        raise BadInput(f"{folder}: no finished search here; `ttsnap search --out {folder}` ends with one")
    summary, seconds = (read_json(folder / f"{name}.json") for name in ("summary", "seconds"))
    if not all({"made_from", "units"} <= set(r) for r in summary["settings"]["rewards"]):
        raise BadInput(f"{folder}: by an earlier version of ttsnap; search again")
    if len(summary["prompts"]) != len(seconds["prompts"]):
        raise BadInput(f"{folder}: summary.json and seconds.json are of different runs; search again")
    return {"summary": summary, "seconds": seconds, "where": folder}


def join_searches(parts: Sequence[Mapping]) -> list[dict]:
    """The searches of shards as one per method and budget, in the order of the shards.

    parts: each as `read_search` returns it. Returns {"settings", "candidates",
    "budget_tflop", "prompts": rows, "seconds": rows, "notes"}, sorted by budget and method.
    """
    joined: dict[tuple, dict] = {}
    for part in parts:
        summary = part["summary"]
        key = (summary["settings"]["budget"], REAL_METHODS.index(summary["settings"]["method"]))
        if key not in joined:
            joined[key] = {**summary, "prompts": [], "seconds": []}
        whole = joined[key]
        check_same(
            part["where"], summary["settings"], "the searches before it", whole["settings"],
            "compare searches made alike", apart_from=("code",),
        )  # fmt: skip
        if summary["candidates"] != whole["candidates"]:
            raise BadInput(
                f"{part['where']}: started {summary['candidates']} candidates, the searches before it"
                f" {whole['candidates']}; compare searches made alike"
            )
        whole["prompts"] += summary["prompts"]
        whole["seconds"] += part["seconds"]["prompts"]
    for whole in joined.values():
        rows = whole["prompts"]
        check_once((row["prompt"] for row in rows), (row["file"] for row in rows), "searches")
    return [joined[key] for key in sorted(joined)]


def compare(searches: Sequence[Mapping], tensors: Sequence[RewardTensor], draws: int = 100, seed: int = 0) -> dict:
    """What `ttsnap compare-search --json` writes: a row for each method and budget.

    searches: of `join_searches`. tensors: one for each reward of the searches, whose first prompts
    are those that were searched. Raises BadInput when they are of other prompts or rewards.
    """
    check_tensors(tensors)
    first = searches[0]
    rewards = [reward["name"] for reward in first["settings"]["rewards"]]
    if names(tensors) != rewards:
        raise BadInput(f"tensors: they hold {names(tensors)}, the searches went by {rewards}")
    prompts = [row["prompt"] for row in first["prompts"]]
    for search in searches:
        if [row["prompt"] for row in search["prompts"]] != prompts:
            raise BadInput("searches: not all of the same prompts; compare searches of the same ones")
    if tensors[0].prompts[: len(prompts)] != prompts:
        raise BadInput("tensors: they do not begin with the prompts that were searched")
    for search in searches:
        _check_made_alike(search, first, tensors)
    tensors = [tensor.select(slice(0, len(prompts))) for tensor in tensors]
    rows = [_row(search, tensors, draws, seed) for search in searches]
    _against_best_of_n(rows, seed)
    for row in rows:
        row["differs"] = [name for name, mean in row["difference"].items() if _excludes_0(mean)]
        del row["_values"]
    return {
        "rewards": rewards,
        "unit": tensors[0].units.label,
        "budget_unit": first["settings"]["budget_unit"],
        "prompts": len(prompts),
        "pool": tensors[0].base.shape[1],
        "fresh": _fresh(first["settings"], tensors[0]),
        "first_candidate": first["settings"]["first_candidate"],
        "draws": draws,
        "rows": rows,
        "compared": sum(len(row["difference"]) for row in rows),
        "differing": sum(len(row["differs"]) for row in rows),
        "notes": list(dict.fromkeys(note for search in searches for note in search["notes"])),
    }


def _check_made_alike(search: Mapping, first: Mapping, tensors: Sequence[RewardTensor]) -> None:
    """Raise BadInput unless a search was with the model and the rewards of the first, and of the tensors."""
    mine, remedy = search["settings"], "compare what was made alike"
    where = f"search by {mine['method']}, budget {mine['budget']:g}"
    keys = ("budget_unit", "sampler", "weights", "seed", "first_candidate", "checker")
    check_same(where, mine, "the first search", first["settings"], remedy, only=keys)
    images = images_record(tensors[0].attrs)
    other = {"seed", "dtype"}  # of a check by other candidates, on another machine
    check_same(where, mine["sampler"], "the tensor", images, remedy, apart_from=other, known=True)
    for reward, tensor in zip(mine["rewards"], tensors, strict=True):
        made = {key: tensor.attrs[key] for key in ("reward_made_from",) if key in tensor.attrs}
        used = {"reward_made_from": reward["made_from"]}
        check_same(where, used, f"the tensor of {tensor.reward}", made, remedy, known=True)
        versions = dict(v.split(":") for v in tensor.attrs.get("level_versions", "").split(",") if v)
        check_same(where, reward["levels"], f"the tensor of {tensor.reward}", versions, remedy, known=True)


def _fresh(settings: Mapping, tensor: RewardTensor) -> bool:
    """Whether no candidate of a search is in the tensor."""
    other_seed = settings["seed"] != tensor.attrs.get("seed", settings["seed"])
    return other_seed or settings["first_candidate"] > int(max(tensor.candidates))


def _row(search: Mapping, tensors, draws: int, seed: int) -> dict:
    def means(by_prompt: dict) -> dict:
        return {name: mean_with_interval(values, seed) for name, values in by_prompt.items()}

    settings, count = search["settings"], search["candidates"]
    measured = _measured(search)
    predicted = _predicted(settings, count, tensors, draws, seed)
    both = [name for name in measured if name in predicted and np.isfinite(predicted[name]).all()]
    seconds = {part: float(np.mean([row[part] for row in search["seconds"]])) for part in search["seconds"][0]}
    return {
        "method": settings["method"],
        "schedule": settings["schedule"],
        "budget": settings["budget"],
        "budget_tflop": search["budget_tflop"],
        "candidates": count,
        "spent_tflop": float(np.mean([row["spent_tflop"] for row in search["prompts"]])),
        "most_spent_tflop": max(row["spent_tflop"] for row in search["prompts"]),
        "seconds": seconds,
        "measured": means(measured),
        "predicted": means({name: predicted[name] for name in both}),
        "difference": means({name: measured[name] - predicted[name] for name in both}),
        "_values": (measured, predicted),
    }


def _measured(search: Mapping) -> dict[str, np.ndarray]:
    """{reward: [P] of the picks, in reporting units, "accepted": [P]}."""
    rows, values = search["prompts"], {}
    for reward in search["settings"]["rewards"]:
        units = Units.from_json(reward["units"], reward["name"])
        picks = np.array([row["rewards"][reward["name"]] for row in rows])
        values[reward["name"]] = units.reported(picks)
    if "accepted" in rows[0]:
        values["accepted"] = np.array([float(row["accepted"]) for row in rows])
    return values


def _predicted(settings: Mapping, count: int, tensors, draws: int, seed: int) -> dict:
    """The same by the simulation: each prompt's mean over draws; NaN where the pool is too small."""
    schedule, method = Schedule.from_json(settings["schedule"]), settings["method"]
    counts = np.array([count])
    if method == "best_of_n" and len(tensors) == 1:
        by_prompt = best_of_n(tensors[0], counts)
    else:
        prune = METHODS["ttsp" if method == "best_of_n" else method]
        by_prompt, _ = run_method(tensors, prune, schedule, counts, draws, seed)
    units = {tensor.reward: tensor.units for tensor in tensors}
    return {name: units.get(name, Units()).reported(values[0]) for name, values in by_prompt.items()}


def _against_best_of_n(rows: list[dict], seed: int) -> None:
    """Add what each method reaches over best-of-N at its budget, paired by prompt: measured and predicted."""
    for row in rows:
        base = next((r for r in rows if r["method"] == "best_of_n" and r["budget"] == row["budget"]), None)
        if base is None or base is row:
            row["over_best_of_n"] = None
            continue
        pairs = zip(("measured", "predicted"), row["_values"], base["_values"], strict=True)
        row["over_best_of_n"] = {
            kind: {name: mean_with_interval(mine[name] - other[name], seed) for name in mine if name in other}
            for kind, mine, other in pairs
        } | {part: row["seconds"][part] / base["seconds"][part] for part in ("total", "cpu")}


def _excludes_0(mean: dict) -> bool:
    return mean["low"] is not None and (mean["low"] > 0 or mean["high"] < 0)
