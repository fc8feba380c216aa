"""The tables of the report: template values from the workflow's files."""

from ttsnap.errors import BadInput
from ttsnap.pruning.costs import Costs
from ttsnap.pruning.schedule import REAL_METHODS, Schedule
from ttsnap.report.summary import search_name, search_title
from ttsnap.storage.tensor import RewardTensor


def cost_table(simulation: dict, tensors: list[RewardTensor]) -> dict:
    """The cost of each part and of one candidate of each method; the candidates within each budget."""
    settings = simulation["settings"]
    costs = Costs(settings["denoise_cost"], settings["look_cost"], len(tensors[0].steps), settings["accounting"])
    parts = [("one denoiser evaluation", settings["denoise_cost"])]
    if "decode_tflop" in tensors[0].attrs:
        parts.append(("decoding one Tweedie image to pixels", tensors[0].attrs["decode_tflop"]))
    for tensor in tensors:
        if "reward_tflop" in tensor.attrs:
            parts.append((f"reading one image with {tensor.attrs['reward']}", tensor.attrs["reward_tflop"]))
    parts.append(("one look: decode and read", settings["look_cost"]))
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
        row | {"figures": trained.get(row["step"]), "direction": _direction(row["tau_difference"])}
        for row in alignment["steps"]
        if row["step"] in alignment["levels"]
    ]
    if missing := [row["step"] for row in rows if levels and row["figures"] is None]:
        raise BadInput(
            f"level {missing[0]}: in the alignment, but not in the finetuning figures; give the file of every level"
        )
    return {
        **{key: alignment[key] for key in ("reward", "prompts", "candidates")},
        "rows": rows,
        "kept_start": [row["step"] for row in rows if row["figures"] and row["figures"]["kept"] == "start"],
    }


def _direction(difference: dict | None) -> str:
    """Whether an interval lies above or below zero."""
    if not difference or difference["low"] is None:
        return ""
    return "up" if difference["low"] > 0 else "down" if difference["high"] < 0 else ""


def gain_table(simulation: dict, fitted: list[dict]) -> dict:
    """Ω of each method, its schedule, the fit of that schedule, and where TTSnap read the base reward."""
    fits = {fit["settings"]["method"]: fit for fit in fitted}
    rows = []
    for name, gain in simulation["gain"].items():
        fit = fits.get(name)
        row = {"name": name, "gain": gain, "direction": _direction(gain), "schedule": simulation["schedules"][name]}
        rows.append(row | {"fit": fit and fit["gain"]["fit"], "fell_back": bool(fit and fit["fallback"])})
    return {
        "search": search_title(search_name(simulation)),
        "rewards": list(next(iter(simulation["gain"].values())).get("by_reward", {})),
        "reward": simulation["reward"],
        "rows": rows,
        "difference": simulation["gain_difference"].get("ttsnap_minus_ttsp"),
        **{key: simulation[key] for key in ("fallback_steps", "notes")},
        **{key: simulation["settings"][key] for key in ("draws", "prompts")},
        "fitted": bool(fits),
    }
