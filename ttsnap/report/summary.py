"""The headline figures, as JSON and as plain lines."""

from ttsnap.errors import BadInput
from ttsnap.pruning.schedule import REAL_METHODS, Schedule
from ttsnap.report import words
from ttsnap.storage.tensor import RewardTensor

MEAN_KEYS = ("value", "low", "high")


def summarise_run(
    tensors: list[RewardTensor], simulations: list[dict], alignments: list[dict], own: list[RewardTensor] = ()
) -> dict:
    """The content of `summary.json`. A search is one simulation, by one reward or by all together.

    own: the tensors of the run itself, where `tensors` are of a reference run.
    """
    first = tensors[0]
    aligned = {alignment["reward"]: alignment for alignment in alignments}
    prompts, candidates, _ = first.base.shape
    return {
        **{key: first.attrs.get(key) for key in ("model", "scheduler", "guidance", "seed", "dtype")},
        "prompts": prompts,
        "candidates": candidates,
        "steps": len(first.steps),
        "drafts": first.drafts,
        "checked": first.accepted is not None,
        "accepted_single": first.accepted is not None and float(first.accepted[:, :, -1].mean()),
        "own": {"prompts": own[0].base.shape[0], "candidates": own[0].base.shape[1]} if own else None,
        "searches": {search_name(s): _search(s, aligned.get(search_name(s))) for s in simulations},
    }


def search_name(simulation: dict) -> str:
    """The reward of a search, or "all" for the rank sum of several."""
    return "all" if "by_reward" in simulation["methods"]["best_of_n"] else simulation["reward"]


def search_title(name: str) -> str:
    """The name of a search in words."""
    return "all rewards, by rank sum" if name == "all" else name


def _search(simulation: dict, alignment: dict | None) -> dict:
    curves = {name: simulation["methods"][name] for name in REAL_METHODS}
    by_budget = zip(*(curve["reward"] for curve in curves.values()), strict=True)
    simulated = [i for i, rewards in enumerate(by_budget) if None not in rewards]
    if not simulated:
        raise BadInput(
            f"{search_name(simulation)}: there is no budget at which all methods can be simulated; "
            "lower simulate.budgets or raise prompts.test.candidates"
        )
    return {
        "rewards": list(curves["best_of_n"].get("by_reward", [])) or [simulation["reward"]],
        "unit": simulation["unit"],
        "gain": {name: {key: gain[key] for key in MEAN_KEYS} for name, gain in simulation["gain"].items()},
        "gain_difference": simulation["gain_difference"].get("ttsnap_minus_ttsp"),
        "gain_by_drafts": simulation["gain_difference"].get("ttsnap_minus_ttsnap_steps"),
        "tau": _tau(alignment),
        "middle": _at(curves, simulated[len(simulated) // 2]),
        "largest": _at(curves, simulated[-1]),
        "same_reward": _same_reward(curves, simulated),
        "schedules": {name: simulation["schedules"][name] for name in REAL_METHODS[1:]},
        "fallback_looks": simulation["fallback_looks"],
        "notes": simulation["notes"],
    }


def _at(curves: dict, budget: int) -> dict:
    """The value that each method reaches at one budget."""
    bon = curves["best_of_n"]
    keys = {
        "reward": ("reward", "low", "high"),
        "accepted": ("accepted", "accepted_low", "accepted_high"),
        "reward_more": tuple(f"over_best_of_n{end}" for end in ("", "_low", "_high")),
        "accepted_more": tuple(f"accepted_over_best_of_n{end}" for end in ("", "_low", "_high")),
    }
    return {"budget": bon["budget"][budget], "candidates": bon["candidates"][budget]} | {
        name: {
            key: {end: curve[column][budget] for end, column in zip(MEAN_KEYS, columns, strict=True)}
            for key, columns in keys.items()
            if columns[0] in curve
        }
        for name, curve in curves.items()
    }


def _same_reward(curves: dict, simulated: list[int]) -> float | None:
    """The part of best-of-N's largest budget with which TTSnap reaches its reward there; None for all of it or more."""
    goal = curves["best_of_n"]["reward"][simulated[-1]]
    budgets = [curves["ttsnap"]["budget"][i] for i in simulated]
    rewards = [curves["ttsnap"]["reward"][i] for i in simulated]
    for i in range(1, len(simulated)):
        if rewards[i - 1] < goal <= rewards[i]:
            share = (goal - rewards[i - 1]) / (rewards[i] - rewards[i - 1])
            part = (budgets[i - 1] + share * (budgets[i] - budgets[i - 1])) / budgets[-1]
            return part if part < 0.995 else None
    return None


def _tau(alignment: dict | None) -> dict | None:
    """τ at the noisiest step with noise-aware weights."""
    rows = [row for row in alignment["steps"] if row["tau_difference"]] if alignment else []
    if not rows:
        return None
    row = rows[0]
    taus = {kind: row[kind]["tau"] for kind in ("base", "noise_aware")}
    return {"level": row["step"], **taus, "difference": row["tau_difference"]}


def verdict(search: dict) -> str:
    """One sentence that claims no more than the intervals support."""
    gains, difference = search["gain"], search["gain_difference"]
    if gains["ttsnap"]["value"] is None:
        return "No gain can be stated; the notes say why."
    pruned = search["schedules"]["ttsnap"]
    looks = list(Schedule.from_json(pruned).looks)
    if not looks:
        return "No schedule clearly paid off where it was fitted, so TTSnap prunes nothing: it is best-of-N."
    clearly = words.direction(gains["ttsnap"])
    if not clearly:
        return "TTSnap is not clearly better or worse than best-of-N: the interval includes 0."
    if clearly == "down":
        return "TTSnap is worse than best-of-N here."
    text = "TTSnap beats best-of-N"
    if search["fallback_looks"] == looks:
        also = ", as does TTSp" if pruned == search["schedules"]["ttsp"] else " by its schedule alone"
        return text + also + ": no look of its schedule has noise-aware weights."
    clearly = words.direction(difference)
    if clearly == "up":
        return text + ", and beats TTSp: noise-aware weights pay off."
    if clearly == "down":
        return text + ", but TTSp, which needs no finetuning, gains more."
    return text + "; these prompts do not tell whether it beats TTSp."


def headline(summary: dict) -> list[str]:
    """The headline figures as plain lines."""
    first = "{prompts} test prompts × {candidates} candidates × {steps} steps of {model}".format_map(summary)
    if summary["checked"]:
        first += f"; the checker accepts {words.percent(summary['accepted_single'])} of single images"
    lines = [*with_and_without(summary), "", first]
    if own := summary["own"]:
        lines.append(
            "  (a reference run, its rewards given ready made; this run itself made {candidates} images of each of"
            " {prompts} test prompts)".format_map(own)
        )
    for name, search in summary["searches"].items():
        lines += ["", f"{search_title(name)}: {verdict(search)}"]
        gains = [f"{words.method_name(m)} {words.gain(search['gain'][m])}" for m in REAL_METHODS[1:]]
        reward = f" ({search['rewards'][0]})" if name == "all" else ""
        lines.append(f"  gain Ω over best-of-N{reward}: " + ", ".join(gains))
        if search["gain_by_drafts"]:
            lines.append(f"  of TTSnap's Ω, drafts give {words.gain(search['gain_by_drafts'])}")
        if tau := search["tau"]:
            lines.append(
                f"  Kendall τ at step {tau['level']}: base {words.number(tau['base']['value'])}, "
                f"noise-aware {words.number(tau['noise_aware']['value'])}; difference "
                f"{words.number(tau['difference']['value'], sign=True)} "
                f"({words.interval(tau['difference'], sign=True)})"
            )
        if search["same_reward"]:
            lines.append(
                f"  TTSnap reaches best-of-{search['largest']['candidates']}'s reward with about "
                f"{words.percent(search['same_reward'], 0)} of its compute"
            )
        for place in ("middle", "largest"):
            at = search[place]
            for key, text in (("reward", search["unit"]), ("accepted", "accepted")):
                if key in at["ttsnap"]:
                    lines.append(_line(at, key, text))
    return lines


def with_and_without(summary: dict) -> list[str]:
    """What the compute of the largest budget buys with the method and without it, in words, for the first search."""
    at = next(iter(summary["searches"].values()))["largest"]
    says, write, key, scale, places, unit = "mean reward of the images", words.number, "reward", 1, 3, ""
    if "accepted" in at["ttsnap"]:
        says, write, key = "images that the checker accepts", words.percent, "accepted"
        scale, places, unit = 100, 1, " points"
    without, found = (write(at[name][key]["value"]) for name in ("best_of_n", "ttsnap"))
    more = at["ttsnap"][f"{key}_more"]
    value = None if more["value"] is None else more["value"] * scale
    gained = words.number(value, places, True) + unit
    return [
        f"What the compute of {at['candidates']} finished images a prompt buys ({words.flop(at['budget'])}), {says}:",
        f"  without the method (best-of-N)  {without}",
        f"  with it (TTSnap)                {found}, {gained} ({words.interval(more, places, True, scale)})",
    ]


def _line(at: dict, key: str, text: str) -> str:
    values = {name: at[name][key]["value"] for name in REAL_METHODS}
    places = words.decimals(values.values())
    cells = [
        f"{words.method_name(name)} " + (words.percent(value) if key == "accepted" else words.number(value, places))
        for name, value in values.items()
    ]
    compute = f"{at['candidates']} candidates of best-of-N ({words.flop(at['budget'])})"
    return f"  {text} at the compute of {compute}: " + ", ".join(cells)
