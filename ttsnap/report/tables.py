"""The tables of the report: template values from the workflow's files."""

from collections.abc import Collection

from ttsnap.errors import BadInput
from ttsnap.pruning.schedule import REAL_METHODS, Look, Schedule
from ttsnap.report.summary import search_name, search_title
from ttsnap.report.words import direction
from ttsnap.storage.costs import costs_from
from ttsnap.storage.tensor import RewardTensor


def cost_table(simulation: dict, tensors: list[RewardTensor]) -> dict:
    """The cost of each part and of one candidate of each method; the candidates within each budget."""
    settings = simulation["settings"]
    costs = costs_from(settings, len(tensors[0].steps))
    parts = [("one denoiser evaluation", settings["denoise_cost"])]
    if "decode_tflop" in tensors[0].attrs:
        parts.append(("decoding one image to pixels", tensors[0].attrs["decode_tflop"]))
    for tensor in tensors:
        if "reward_tflop" in tensor.attrs:
            parts.append((f"reading one image with {tensor.attrs['reward']}", tensor.attrs["reward_tflop"]))
    if "look_decode_tflop" in tensors[0].attrs:
        parts.insert(2, ("decoding one look by the smaller decoder", tensors[0].attrs["look_decode_tflop"]))
    parts.append(("one look: decode and read", costs.look))
    if costs.final_look != costs.look:
        parts.append(("reading the final image", costs.final_look))
    parts += [(f"making draft {name}", cost) for name, cost in costs.drafts.items()]
    methods = []
    for name in REAL_METHODS:
        schedule = simulation["schedules"][name]
        cost = costs.schedule(Schedule.from_json(schedule))
        methods.append({"name": name, "schedule": schedule, "cost": cost, "share": cost / costs.best_of_n()})
    curves = [simulation["methods"][name] for name in REAL_METHODS]
    return {
        "search": search_title(search_name(simulation)),
        "parts": parts,
        "methods": methods,
        "budgets": [
            (budget, [(curve["candidates"][i], curve["spent"][i]) for curve in curves])
            for i, budget in enumerate(curves[0]["budget"])
        ],
        "pool": settings["pool"],
        "accounting": settings["accounting"],
        "steps": costs.num_steps,
    }


def levels_table(alignment: dict, levels: list[dict]) -> dict:
    """Each level: τ on the test prompts, base and noise-aware; the effect of finetuning; the weights kept."""
    trained = {level["level"]: level for level in levels}
    rows = [
        row | {"look": look, "figures": trained.get(look), "direction": direction(row["tau_difference"])}
        for look, row in rows_by_look(alignment).items()
        if look in alignment["levels"]
    ]
    if missing := [row["look"] for row in rows if levels and row["figures"] is None]:
        raise BadInput(
            f"level {missing[0]}: in the alignment, but not in the finetuning figures; give the file of every level"
        )
    further = [row["look"] for row in rows if row["figures"] and row["figures"].get("start") == row["look"]]
    return {
        **{key: alignment[key] for key in ("reward", "prompts", "candidates")},
        "rows": rows,
        "further": further,
        "steps": [row["step"] for row in rows if "step" in row and row["step"] not in further],
        "drafts": [row["draft"] for row in rows if "draft" in row and row["draft"] not in further],
        "kept_start": [row["look"] for row in rows if row["figures"] and row["figures"]["kept"] == "start"],
    }


def rows_by_look(alignment: dict) -> dict[Look, dict]:
    """The rows of an alignment by look, drafts first."""
    rows = [*alignment["drafts"], *alignment["steps"]]
    return {row.get("draft", row.get("step")): row for row in rows}


def looks_table(alignment: dict, chosen: Collection[Look] = ()) -> dict | None:
    """What each look costs and how well it predicts the final reward; None where the tensor has no costs.

    chosen: the looks to mark.
    """
    full = alignment["full_tflop"]
    if full is None:
        return None
    rows = [
        row | {"look": look, "share": row["tflop"] / full, "chosen": look in chosen}
        for look, row in rows_by_look(alignment).items()
    ]
    return {"reward": alignment["reward"], "rows": rows[:-1]}  # without the final image


def fitted_method(fit: dict) -> str:
    """The method that a result of fit-schedule is for."""
    return fit["settings"]["method"] + ("_steps" if fit["settings"].get("without_drafts") else "")


def gain_table(simulation: dict, fitted: list[dict]) -> dict:
    """Ω of each method, its schedule, the fit of that schedule, and where TTSnap read the base reward."""
    fits = {fitted_method(fit): fit for fit in fitted}
    rows = []
    for name, gain in simulation["gain"].items():
        fit = fits.get(name)
        row = {"name": name, "gain": gain, "direction": direction(gain), "schedule": simulation["schedules"][name]}
        rows.append(row | {"fit": fit and fit["gain"]["fit"], "fell_back": bool(fit and fit["fallback"])})
    return {
        "search": search_title(search_name(simulation)),
        "rewards": list(next(iter(simulation["gain"].values())).get("by_reward", {})),
        "reward": simulation["reward"],
        "rows": rows,
        "differences": {
            name.removeprefix("ttsnap_minus_"): difference for name, difference in simulation["gain_difference"].items()
        },
        **{key: simulation[key] for key in ("fallback_looks", "notes")},
        **{key: simulation["settings"][key] for key in ("draws", "prompts")},
        "fitted": bool(fits),
    }
