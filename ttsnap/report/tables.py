"""The tables of the report: what its templates show, from what the workflow's files say."""

from ttsnap.errors import BadInput
from ttsnap.pruning.costs import Costs
from ttsnap.pruning.schedule import Schedule
from ttsnap.report.summary import search_title
from ttsnap.storage.tensor import RewardTensor

PRUNING = ("ttsp", "ttsnap")


def cost_table(simulation: dict, tensors: list[RewardTensor]) -> dict:
    """What each part costs, one candidate of each method, and candidates within the budgets."""
    settings = simulation["settings"]
    costs = Costs(settings["denoise_cost"], settings["look_cost"], len(tensors[0].steps), settings["accounting"])
    parts = [("one denoiser evaluation", settings["denoise_cost"])]
    if "decode_tflop" in tensors[0].attrs:
        parts.append(("decoding one Tweedie image to pixels", tensors[0].attrs["decode_tflop"]))
    for tensor in tensors:
        if "reward_tflop" in tensor.attrs:
            name = f"reading one image with {tensor.attrs['reward']}"
            parts.append((name, tensor.attrs["reward_tflop"]))
    parts.append(("one look: decode and read", settings["look_cost"]))
    methods = []
    for name in ("best_of_n", *PRUNING):
        schedule = simulation["schedules"][name]
        cost = costs.schedule(Schedule.from_json(schedule))
        share = cost / costs.best_of_n()
        methods.append({"name": name, "schedule": schedule, "cost": cost, "share": share})
    curves = {name: simulation["methods"][name] for name in ("best_of_n", *PRUNING)}
    budgets = curves["best_of_n"]["budget"]
    return {
        "search": search_title(simulation),
        "parts": parts,
        "methods": methods,
        "budgets": [
            (budget, [(c["candidates"][i], c["spent"][i]) for c in curves.values()]) for i, budget in enumerate(budgets)
        ],
        "pool": settings["pool"],
        "accounting": settings["accounting"],
        "steps": costs.num_steps,
    }


def levels_table(alignment: dict, levels: list[dict]) -> dict:
    """Each level: τ on the test prompts, base and noise-aware; what finetuning did; what was kept."""
    trained = {level["level"]: level for level in levels}
    rows = []
    for row in alignment["steps"]:
        if row["step"] in alignment["levels"]:
            figures = trained.get(row["step"])
            if levels and figures is None:
                raise BadInput(
                    f"level {row['step']}: the alignment has it, the finetuning figures given "
                    "have not; give the file of every level"
                )
            rows.append(row | {"figures": figures, "direction": _direction(row["tau_difference"])})
    return {
        "reward": alignment["reward"],
        "prompts": alignment["prompts"],
        "candidates": alignment["candidates"],
        "rows": rows,
        "kept_start": [row["step"] for row in rows if row["figures"] and row["figures"]["kept"] == "start"],
    }


def _direction(difference: dict | None) -> str:
    """Whether an interval lies above or below zero."""
    if not difference or difference["low"] is None:
        return ""
    return "up" if difference["low"] > 0 else "down" if difference["high"] < 0 else ""


def gain_table(simulation: dict, fitted: list[dict]) -> dict:
    """Ω of each method, its schedule, where that was fitted, and where TTSnap read the base reward."""
    fits = {fit["settings"]["method"]: fit for fit in fitted}
    rows = []
    for name, gain in simulation["gain"].items():
        fit = fits.get(name)
        rows.append(
            {
                "name": name,
                "gain": gain,
                "direction": _direction(gain),
                "schedule": simulation["schedules"][name],
                "fit": fit and fit["gain"]["fit"],
                "fell_back": bool(fit and fit["fallback"]),
                "tried": fit and fit.get("best_pruning"),
                "notes": fit["notes"] if fit else [],
            }
        )
    return {
        "search": search_title(simulation),
        "rewards": list(next(iter(simulation["gain"].values())).get("by_reward", {})),
        "reward": simulation["reward"],
        "rows": rows,
        "difference": simulation["gain_difference"].get("ttsnap_minus_ttsp"),
        "fallback_steps": simulation["fallback_steps"],
        "notes": simulation["notes"],
        "draws": simulation["settings"]["draws"],
        "prompts": simulation["settings"]["prompts"],
        "fitted": bool(fits),
    }
