"""Measurements of real searches beside the predictions of a simulation on the reward tensor.

NumPy only. A search is what `ttsnap search` wrote about some prompts: its summary and its seconds. Intervals are 95 %
percentile bootstraps over prompts. The difference measured − predicted is paired by prompt: the prompt's real draw of
candidates against the mean over draws from the tensor's pool. Its interval therefore covers the luck of the real draw,
and includes 0 where the two agree.
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
    """{"summary", "seconds", "where"} of a folder of `ttsnap search`. Raises BadInput unless its search is finished."""
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
    """Join the searches of all shards into one per method and budget, in the order of the shards.

    parts: as `read_search` returns them. Returns {"settings", "candidates", "budget_tflop", "prompts": rows, "seconds":
    rows, "notes"}, sorted by budget and method.
    """
    joined: dict[tuple, dict] = {}
    for part in parts:
        summary, settings = part["summary"], part["summary"]["settings"]
        key = (settings["budget"], REAL_METHODS.index(settings["method"]))
        whole = joined.setdefault(key, {**summary, "prompts": [], "seconds": []})
        check_same(
            part["where"], settings, "the searches before it", whole["settings"],
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
    """The content of `ttsnap compare-search --json`: a row for each method and budget.

    searches: from `join_searches`. tensors: one for each reward of the searches; the prompts that were searched come
    first. Raises BadInput for other prompts or rewards.
    """
    check_tensors(tensors)
    first = searches[0]
    settings, prompts = first["settings"], [row["prompt"] for row in first["prompts"]]
    rewards = [reward["name"] for reward in settings["rewards"]]
    if names(tensors) != rewards:
        raise BadInput(f"tensors: they hold {names(tensors)}, the searches went by {rewards}")
    if any([row["prompt"] for row in search["prompts"]] != prompts for search in searches):
        raise BadInput("searches: not all of the same prompts; compare searches of the same ones")
    if tensors[0].prompts[: len(prompts)] != prompts:
        raise BadInput("tensors: they do not begin with the prompts that were searched")
    for search in searches:
        _check_made_alike(search["settings"], settings, tensors)
    tensors = [tensor.select(slice(0, len(prompts))) for tensor in tensors]
    outcomes = [(_measured(search), _predicted(search, tensors, draws, seed)) for search in searches]
    rows = [_row(search, *outcome, seed) for search, outcome in zip(searches, outcomes, strict=True)]
    best_of_n_at = {row["budget"]: i for i, row in enumerate(rows) if row["method"] == "best_of_n"}
    for i, row in enumerate(rows):
        base = best_of_n_at.get(row["budget"], i)
        row["over_best_of_n"] = None if base == i else _over(outcomes[i], outcomes[base], row, rows[base], seed)
        ends = {name: (mean["low"], mean["high"]) for name, mean in row["difference"].items()}
        row["differs"] = [name for name, (low, high) in ends.items() if low is not None and not low <= 0 <= high]
    other_seed = settings["seed"] != tensors[0].attrs.get("seed", settings["seed"])
    return {
        "rewards": rewards,
        "unit": tensors[0].units.label,
        "budget_unit": settings["budget_unit"],
        "prompts": len(prompts),
        "pool": tensors[0].base.shape[1],
        "fresh": other_seed or settings["first_candidate"] > int(max(tensors[0].candidates)),
        "first_candidate": settings["first_candidate"],
        "draws": draws,
        "rows": rows,
        "compared": sum(len(row["difference"]) for row in rows),
        "differing": sum(len(row["differs"]) for row in rows),
        "notes": list(dict.fromkeys(note for search in searches for note in search["notes"])),
    }


def _check_made_alike(settings: Mapping, first: Mapping, tensors: Sequence[RewardTensor]) -> None:
    """Raise BadInput unless a search used the model and the rewards of the first one and of the tensors."""
    remedy, where = "compare what was made alike", f"search by {settings['method']}, budget {settings['budget']:g}"
    keys = ("budget_unit", "sampler", "weights", "seed", "first_candidate", "checker")
    check_same(where, settings, "the first search", first, remedy, only=keys)
    images = images_record(tensors[0].attrs)
    other = {"seed", "dtype", "drafts"}  # of a check by other candidates, on another machine
    check_same(where, settings["sampler"], "the tensor", images, remedy, apart_from=other, known=True)
    for name, draft in settings.get("drafts", {}).items():
        there = images.get("drafts", {}).get(name)
        if there is None:
            raise BadInput(f"{where}: looks at draft {name}, which the tensor does not have; {remedy}")
        check_same(f"{where}: draft {name}", draft, "the tensor", there, remedy, apart_from=("dtype", "tflop"))
    for reward, tensor in zip(settings["rewards"], tensors, strict=True):
        about = f"the tensor of {tensor.reward}"
        used = {"reward_made_from": reward["made_from"]}
        check_same(where, used, about, tensor.attrs, remedy, only=("reward_made_from",), known=True)
        versions = dict(v.split(":") for v in tensor.attrs.get("level_versions", "").split(",") if v)
        check_same(where, reward["levels"], about, versions, remedy, known=True)


def _means(by_prompt: Mapping[str, np.ndarray], seed: int) -> dict:
    return {name: mean_with_interval(values, seed) for name, values in by_prompt.items()}


def _row(search: Mapping, measured: Mapping, predicted: Mapping, seed: int) -> dict:
    settings, prompts, seconds = search["settings"], search["prompts"], search["seconds"]
    both = [name for name in measured if name in predicted and np.isfinite(predicted[name]).all()]
    return {
        "method": settings["method"],
        "schedule": settings["schedule"],
        "budget": settings["budget"],
        "budget_tflop": search["budget_tflop"],
        "candidates": search["candidates"],
        "spent_tflop": float(np.mean([row["spent_tflop"] for row in prompts])),
        "most_spent_tflop": max(row["spent_tflop"] for row in prompts),
        "seconds": {part: float(np.mean([row[part] for row in seconds])) for part in seconds[0]},
        "measured": _means(measured, seed),
        "predicted": _means({name: predicted[name] for name in both}, seed),
        "difference": _means({name: measured[name] - predicted[name] for name in both}, seed),
    }


def _measured(search: Mapping) -> dict[str, np.ndarray]:
    """{reward: [P], the picks in reporting units, "accepted": [P]}."""
    rows, values = search["prompts"], {}
    for reward in search["settings"]["rewards"]:
        picks = np.array([row["rewards"][reward["name"]] for row in rows])
        values[reward["name"]] = Units.from_json(reward["units"], reward["name"]).reported(picks)
    if "accepted" in rows[0]:
        values["accepted"] = np.array([float(row["accepted"]) for row in rows])
    return values


def _predicted(search: Mapping, tensors: Sequence[RewardTensor], draws: int, seed: int) -> dict[str, np.ndarray]:
    """The same from the simulation: each prompt's mean over draws, NaN where the pool is too small."""
    schedule, method = Schedule.from_json(search["settings"]["schedule"]), search["settings"]["method"]
    counts = np.array([search["candidates"]])
    if method == "best_of_n" and len(tensors) == 1:
        by_prompt = best_of_n(tensors[0], counts)
    else:
        prune = METHODS["ttsp" if method == "best_of_n" else method]
        by_prompt, _ = run_method(tensors, prune, schedule, counts, draws, seed)
    units = {tensor.reward: tensor.units for tensor in tensors}
    return {name: units.get(name, Units()).reported(values[0]) for name, values in by_prompt.items()}


def _over(outcome: tuple, base_outcome: tuple, row: Mapping, base_row: Mapping, seed: int) -> dict:
    """The advantage over best-of-N at the same budget, measured and predicted, paired by prompt; ratios of seconds."""
    over = {}
    for kind, ours, base in zip(("measured", "predicted"), outcome, base_outcome, strict=True):
        over[kind] = _means({name: ours[name] - base[name] for name in ours if name in base}, seed)
    return over | {part: row["seconds"][part] / base_row["seconds"][part] for part in ("total", "cpu")}
