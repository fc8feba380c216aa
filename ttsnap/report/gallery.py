"""The gallery: for some prompts the images that TTSnap saw, the candidates it dropped, and the pick of best-of-N.

The methods of `ttsnap.simulate.methods` prune on the reward tensor of the report.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ttsnap.errors import BadInput
from ttsnap.pruning.budget import in_tflop
from ttsnap.pruning.schedule import Look, Schedule, look_name
from ttsnap.report.pages import thumbnail
from ttsnap.report.words import decimals
from ttsnap.simulate.methods import METHODS, fallback_looks, noise_aware_looks
from ttsnap.storage.costs import costs_from
from ttsnap.storage.image_shards import Shard
from ttsnap.storage.provenance import check_same, images_record
from ttsnap.storage.tensor import RewardTensor

STRIP, PICK = 96, 256  # pixels of the longer side


def picked(tensor: RewardTensor, method: str, schedule: Schedule, count: int) -> np.ndarray:
    """int [P]: the candidate that a method returns if it starts the first `count`."""
    choose = METHODS[method]([tensor], schedule, np.random.default_rng(0))
    drawn = np.tile(np.arange(count, dtype=np.int32), (len(tensor.base), 1, 1))
    return choose(drawn, [count])[0, :, 0]


def looks_survived(tensor: RewardTensor, method: str, schedule: Schedule, count: int, prompt: int) -> np.ndarray:
    """int [count]: the number of looks that each of a prompt's first `count` candidates survives.

    The method itself tells: were this candidate's final image the best by far, and did the search end after look j, it
    would return the candidate if and only if that was still in the search.
    """
    asked = np.arange(count)
    base = np.repeat(tensor.base[prompt : prompt + 1], count, axis=0)
    base[:, :, -1] = np.arange(base.shape[1]) == asked[:, None]
    aware = tensor.noise_aware
    if aware is not None:
        aware = np.repeat(aware[prompt : prompt + 1], count, axis=0)
    names = [tensor.prompts[prompt]] * count
    probe = replace(tensor, base=base, noise_aware=aware, accepted=None, prompts=names, image_digests=[])
    survived = [
        picked(probe, method, Schedule(schedule.looks[:j], schedule.keep[:j]), count) == asked
        for j in range(1, len(schedule.looks) + 1)
    ]
    return np.sum(survived, axis=0, dtype=int) if survived else np.zeros(count, int)


def gallery(tensor: RewardTensor, shards: Sequence[Shard], simulation: dict, prompts: int, candidates: int) -> dict:
    """The values of the template `gallery` for the first `prompts` prompts.

    The budget is the cost of `candidates` candidates of best-of-N; TTSnap stays within it with whole survivors.
    simulation: JSON of `ttsnap simulate`, for the schedule and the costs.
    """
    settings, steps = simulation["settings"], len(tensor.steps)
    costs = costs_from(settings, steps, "whole")
    schedule = Schedule.from_json(simulation["schedules"]["ttsnap"])
    finished = min(candidates, tensor.base.shape[1])
    budget = float(in_tflop(finished, "candidates", costs))
    affordable = max(1, int(costs.within(budget, schedule)))
    started = min(affordable, tensor.base.shape[1])
    tensor = tensor.select(slice(0, prompts))
    for shard in shards:
        check_same(
            shard.path, shard.attributes, "the tensor", images_record(tensor.attrs), "give the images that were scored",
            known=True,
        )  # fmt: skip
    picks = {
        "best_of_n": picked(tensor, "ttsp", Schedule(), finished),
        "ttsnap": picked(tensor, "ttsnap", schedule, started),
    }
    columns = list(schedule.looks) or _some_looks(tensor)
    looks, final = map(tensor.units.reported, (noise_aware_looks(tensor, columns), tensor.base[:, :, -1]))
    rows = [
        _prompt(tensor, shards, schedule, columns, started, finished, picks, looks, final, prompt)
        for prompt in range(len(tensor.prompts))
    ]
    gaps = np.array([row["difference"] for row in rows])
    return {
        "reward": simulation["reward"],
        "unit": tensor.units.label,
        "schedule": schedule.as_json(),
        "prunes": bool(schedule.looks),
        "columns": columns,
        "drafts": list(schedule.drafts),
        "fallback": fallback_looks(tensor, schedule.looks),
        "budget": budget,
        "finished": finished,
        "started": started,
        "affordable": affordable,
        "spent": float(costs.spent(started, schedule)),
        "checked": tensor.accepted is not None,
        "prompts": rows,
        "outcome": {"higher": int((gaps > 0).sum()), "equal": int((gaps == 0).sum()), "lower": int((gaps < 0).sum())},
    }


def _some_looks(tensor: RewardTensor) -> list[Look]:
    """Four of the looks before the final one, for a schedule without any."""
    looks = tensor.read[:-1]
    return [looks[at] for at in sorted({round(at) for at in np.linspace(0, len(looks) - 1, 4)})] if looks else []


def _prompt(tensor, shards, schedule, columns, started, finished, picks, looks, final, prompt) -> dict:
    """One prompt: the two picks, TTSnap's strips and best-of-N's row."""
    digest = tensor.image_digests[prompt] if tensor.image_digests else None
    images = _images(shards, tensor.prompts[prompt], digest, [*columns, len(tensor.steps) - 1])
    survived = np.full(started, len(columns))
    if schedule.looks:
        survived = looks_survived(tensor, "ttsnap", schedule, started, prompt)
    places = {"looks": [decimals(rewards) for rewards in looks[prompt, :started].T], "final": decimals(final[prompt])}
    chosen = {method: int(candidates[prompt]) for method, candidates in picks.items()}

    def ending(candidate: int, side: int = STRIP) -> dict:
        accepted = tensor.accepted
        return {
            "candidate": int(tensor.candidates[candidate]),
            "image": thumbnail(images[-1][candidate], side),
            "reward": float(final[prompt, candidate]),
            "accepted": None if accepted is None else bool(accepted[prompt, candidate, -1]),
        }

    def strip(candidate: int) -> dict:
        seen = [
            {
                "image": thumbnail(images[look][candidate], STRIP),
                "reward": float(looks[prompt, candidate, look]),
                "kept": bool(look < survived[candidate]),
            }
            for look in range(min(survived[candidate] + 1, len(columns)))
        ]
        return ending(candidate) | {
            "looks": seen,
            "finished": bool(survived[candidate] == len(columns)),
            "pick": candidate == chosen["ttsnap"],
        }

    order = sorted(range(started), key=lambda c: (-survived[c], -final[prompt, c]))
    return {
        "prompt": tensor.prompts[prompt],
        "places": places,
        "picks": {method: ending(candidate, PICK) for method, candidate in chosen.items()},
        "difference": float(final[prompt, chosen["ttsnap"]] - final[prompt, chosen["best_of_n"]]),
        "strips": [strip(candidate) for candidate in order],
        "finals": [ending(c) | {"pick": c == chosen["best_of_n"]} for c in range(finished)],
    }


def _images(shards: Sequence[Shard], prompt: str, digest: str | None, looks: list[Look]) -> list[np.ndarray]:
    """The images uint8 [C, H, W, 3] of a prompt at each of `looks`; digest: of those of steps, if known."""
    found = {}
    for shard in shards:
        if prompt in shard.prompts:
            at = shard.prompts.index(prompt)
            if digest not in (None, shard.digests[at]) and not shard.of_drafts:
                raise BadInput(f"{shard.path}: holds other images of {prompt[:60]!r} than were scored; give those")
            found |= {look: shard.images(look, at) for look in looks if look in shard.looks}
    for look in looks:
        if look not in found:
            raise BadInput(f"{prompt[:60]!r}: {look_name(look)} is in none of the image shards given; give that too")
    return [found[look] for look in looks]
