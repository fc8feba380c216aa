"""Searching many prompts into a folder; an interrupted run resumes there."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from ttsnap.errors import TtsnapError
from ttsnap.models import weights_digest
from ttsnap.pruning.schedule import Look, Schedule, look_names
from ttsnap.rewards.base import load_reward
from ttsnap.rewards.levels import by_level
from ttsnap.rewards.registry import identity, reward_module
from ttsnap.samplers import Sampler
from ttsnap.samplers.drafts import Drafter
from ttsnap.search.core import search_prompts
from ttsnap.search.folder import Folder, fingerprint, overspent, summarise, timing, trace
from ttsnap.search.plan import SearchPlan, make_plan, pick_batches, prompts_at_once
from ttsnap.search.verifiers import RewardVerifier
from ttsnap.settings.kinds import CHECKERS
from ttsnap.shapes.checkers import checker
from ttsnap.storage.checkpoints import check_noise_levels
from ttsnap.storage.code_digest import code
from ttsnap.storage.files import write_json
from ttsnap.storage.prompts import shards

Levels = Mapping[Look, str]  # look → level checkpoint


@dataclass(frozen=True)
class SearchReward:
    """A reward to search by: its kind, the options of its class, and its level checkpoints."""

    name: str
    kind: str
    options: Mapping[str, object] = field(default_factory=dict)
    checkpoints: Sequence[str] = ()


@dataclass(frozen=True)
class SearchTask:
    """What to search for. Several rewards are combined by rank sum; budget: per prompt, in `unit`.

    method           "best_of_n" (with an empty schedule), "ttsp" (base rewards alone) or "ttsnap"
    first_candidate  id of each prompt's first seed
    checker          also judge each pick by this one of CHECKERS
    """

    rewards: Sequence[SearchReward]
    schedule: Schedule
    budget: float
    unit: str = "tflop"
    method: str = "ttsnap"
    first_candidate: int = 0
    seed: int = 0
    checker: str | None = None


def search_into(
    out: str | Path,
    sampler: Sampler,
    prompts: Sequence[str],
    task: SearchTask,
    *,
    weights: str = "",
    drafters: Mapping[str, Drafter] | None = None,
    batch_size: int = 0,
    replace: bool = False,
) -> tuple[dict, dict]:
    """Search every prompt not yet finished in the folder `out`; return the contents of summary.json and seconds.json.

    weights: a digest of the sampler's weights, by which finished prompts are recognised. drafters: of the schedule's
    drafts. batch_size 0: by free memory. replace: remove the results of other prompts. Raises BadInput for checkpoints
    of other noise levels and as `make_plan` does, TtsnapError where another run has overwritten the results.
    """
    drafters = {name: drafters[name] for name in task.schedule.drafts} if drafters else {}
    images = sampler.describe() | {"drafts": {name: drafter.describe() for name, drafter in drafters.items()}}
    levels = [_levels(reward, task, images) for reward in task.rewards]
    opened = [load_reward(reward.kind, device=str(sampler.device), **reward.options) for reward in task.rewards]
    names = [reward.name for reward in task.rewards]
    verifiers = list(map(RewardVerifier, names, opened, levels))
    batches, folder = pick_batches(sampler, verifiers, batch_size), Folder(out)
    settings = describe(task, sampler, verifiers, levels, weights)
    settings |= {"drafts": images["drafts"]} if drafters else {}
    measured = folder.measured(settings)
    plan = make_plan(
        sampler, verifiers, task.schedule, task.budget, task.unit, batches, measured, len(prompts), drafters
    )
    if plan.measured:
        folder.save_measured(settings, plan.measured)
    settings |= {"denoise_cost": plan.costs.denoise, "look_cost": plan.costs.look}
    digest = fingerprint(settings | {"candidates": plan.candidates})
    _announce(plan, len(prompts))
    _search_unfinished(folder, digest, plan, sampler, verifiers, prompts, task, batches, drafters)
    if replace:
        folder.drop_others(prompts)
    rows, seconds = zip(*_finished(folder, prompts, digest), strict=True)
    notes = [*notes_on(plan, task.method, verifiers), *filter(None, [overspent(seconds, plan)])]
    summary, times = summarise(rows, settings, plan, notes), timing(seconds, plan)
    write_json(folder.path / "summary.json", summary)
    write_json(folder.path / "seconds.json", times)
    return summary, times


def _levels(reward: SearchReward, task: SearchTask, images: dict) -> dict[Look, str]:
    """The checkpoints at the schedule's looks; none where the method reads base rewards.

    images: what makes the images of this search.
    """
    known = by_level(reward.checkpoints) if task.method == "ttsnap" else {}
    levels = {look: known[look] for look in task.schedule.looks if look in known}
    for path in levels.values():
        check_noise_levels(path, "this search", images)
    return levels


def describe(
    task: SearchTask, sampler: Sampler, verifiers: Sequence[RewardVerifier], levels: Sequence[Levels], weights: str
) -> dict:
    """Everything that the results depend on, except the number of candidates, which follows from it."""
    modules = [reward_module(reward.kind) for reward in task.rewards]
    modules += [CHECKERS[task.checker]] if task.checker else []
    return {
        "method": task.method,
        "schedule": task.schedule.as_json(),
        "budget": task.budget,
        "budget_unit": task.unit,
        "first_candidate": task.first_candidate,
        "seed": task.seed,
        "sampler": sampler.describe(),
        "weights": weights,
        "rewards": [
            {
                "name": verifier.name,
                "version": verifier.version,
                "made_from": verifier.made_from,
                "units": verifier.units.to_json(),
                "levels": {str(look): version for look, version in verifier.weights.version.items()},
            }
            for verifier in verifiers
        ],
        "checker": task.checker,
        "code": code(__name__, *modules),
        "options": [identity(reward.kind, dict(reward.options)) for reward in task.rewards],
        "checkpoints": [
            {str(look): weights_digest(path) for look, path in checkpoints.items()} for checkpoints in levels
        ],
    }


def _search_unfinished(folder: Folder, digest, plan, sampler, verifiers, prompts, task, batches, drafters) -> None:
    """Search group by group, and save the prompts that have no result with these settings yet."""
    ids = range(task.first_candidate, task.first_candidate + plan.candidates)
    check = checker(task.checker) if task.checker else None
    groups = shards(list(prompts), prompts_at_once(plan, batches))
    for group in tqdm(groups, desc="search", unit="group of prompts", mininterval=5):
        # A group is searched as a whole: a prompt's last digits depend on its company.
        if all(folder.finished(prompt, digest) for prompt in group):
            continue
        how = {"drafters": drafters, "seed": task.seed, "batches": batches}
        for result in search_prompts(sampler, verifiers, plan.schedule, group, ids, **how):
            if not folder.finished(result.prompt, digest):
                accepted = check and bool(check(result.image[None], [result.prompt])[0][0])
                folder.save(result, trace(result, plan, digest, accepted))


def _finished(folder: Folder, prompts: Sequence[str], digest: str) -> list[tuple[dict, dict]]:
    """(trace, seconds) of every prompt."""
    found = [folder.finished(prompt, digest) for prompt in prompts]
    if None in found:
        raise TtsnapError(
            f"{folder.path}: the result for {prompts[found.index(None)][:60]!r} is gone, or another run has overwritten"
            " it; give each run a folder of its own, and run it again"
        )
    return found


def notes_on(plan: SearchPlan, method: str, verifiers: Sequence[RewardVerifier]) -> list[str]:
    """What a reader of the results should know: where pruning cannot gain, which looks use base rewards, timing."""
    looks, notes = plan.schedule.looks, []
    if method != "best_of_n" and not looks:
        notes.append(f"{method}: the schedule has no looks, so this is best-of-N")
    if looks and plan.candidates <= plan.best_of_n:
        notes.append(
            f"{method}: {plan.budget:g} {plan.unit} pay for {plan.candidates} candidates with this schedule and "
            f"{plan.best_of_n} of best-of-N: dropping some can only lose; raise the budget"
        )
    for verifier in verifiers if method == "ttsnap" else ():
        if missing := [look for look in looks if look not in verifier.levels]:
            notes.append(f"{verifier.name}: base reward at {look_names(missing)}: no noise-aware checkpoint there")
    if plan.measured:
        notes.append(
            f"{plan.candidates} candidates fit {plan.budget:g} s per prompt, as measured before the first one "
            "(measured.json): from the text to the pick, without opening the model and writing files"
        )
    return notes


def _announce(plan: SearchPlan, prompts: int) -> None:
    limit = plan.limit()
    spent = f"{plan.spends:.4g} of {limit:.4g} TFLOP" if limit else f"{plan.budget:g} s at most"
    counts = f"{plan.candidates} candidates of each of {prompts} prompts start, {plan.finishing} finish"
    print(f"search: {counts}: {spent} per prompt", file=sys.stderr)
