"""Checks across the keys of a config."""

from ttsnap.errors import BadInput
from ttsnap.pruning.seeds import MOST_CANDIDATES

MOST_BUDGETS = 1000


def check_together(config) -> None:
    """Raise ValueError, beginning with the key at fault, when values of a `Config` are inconsistent."""
    last = config.model.steps - 1
    if last < 1:
        raise ValueError("model.steps: 1 leaves nothing to prune; give at least 2")
    for split in ("validation", "test"):
        if getattr(config.prompts, split).candidates < 2:
            raise ValueError(f"prompts.{split}.candidates: 1 leaves nothing to choose from; give at least 2")
    _check_levels(config, last)
    _check_drafts(config)
    if config.simulate.schedule != "fit":
        try:
            config.simulate.schedule.fixed(config.model.steps, "simulate.schedule", config.drafts)
        except BadInput as error:
            raise ValueError(str(error)) from None
    _check_budgets(config)
    _check_search(config)


def _check_drafts(config) -> None:
    if config.drafts and config.model.negtome:
        raise ValueError(
            "drafts: with NegToMe a candidate depends on its group, which a draft does not show; give {}, or "
            "model.negtome: null"
        )
    for name, draft in config.drafts.items():
        if draft.model is None:  # the model's own weights: each evaluation costs as much, or half without guidance
            full, own = _evaluations(config.model, config.model), _evaluations(config.model, draft)
            if own >= full and draft.steps >= config.model.steps:  # what else costs as much is found when it is counted
                raise ValueError(
                    f"drafts.{name}.steps: {draft.steps} steps cost no less than the full run of {config.model.steps}; "
                    "give fewer"
                )


def _evaluations(model, sampling) -> int:
    """Denoiser evaluations of a run, halves of classifier-free guidance counted apart (FLUX has none)."""
    guidance = model.guidance if sampling.guidance is None else sampling.guidance
    return sampling.steps * (2 if guidance > 1 else 1)


def _check_levels(config, last: int) -> None:
    steps, drafts = config.level_steps, config.level_drafts
    for level in steps:
        if level >= last:
            raise ValueError(f"levels: {level} is not before the final step {last} (model.steps is {last + 1})")
    if sorted(set(steps), reverse=True) != steps:
        raise ValueError(f"levels: {steps} must descend, from clean to noisy, each level once")
    for level in drafts:
        if level not in config.drafts:
            there = f"there are {', '.join(config.drafts)}" if config.drafts else "there is none"
            raise ValueError(f"levels: {level!r} is neither a step nor a draft; {there}")
        if drafts.count(level) > 1:
            raise ValueError(f"levels: {level} stands twice; give each level once")
    for name, reward in config.rewards.items():
        for level in reward.finetune.lr_at:
            if level not in config.levels:
                raise ValueError(f"rewards.{name}.finetune.lr_at: {level} is not one of the levels {config.levels}")


def _check_budgets(config) -> None:
    budgets, fitted = config.simulate.budgets, config.simulate.schedule == "fit"
    if budgets.last < budgets.first:
        raise ValueError("simulate.budgets.last: is smaller than first")
    if (budgets.last - budgets.first) / budgets.step >= MOST_BUDGETS:
        raise ValueError(
            f"simulate.budgets.step: {budgets.step:g} makes more than {MOST_BUDGETS} budgets; give a larger one"
        )
    if budgets.unit == "candidates":
        if budgets.last < 1:
            raise ValueError(f"simulate.budgets.last: {budgets.last:g} pays for no candidate; give 1 or more")
        for split in ("test", "validation") if fitted else ("test",):
            pool = getattr(config.prompts, split).candidates
            if budgets.first > pool:
                raise ValueError(
                    f"simulate.budgets.first: {budgets.first:g} candidates, but prompts.{split}.candidates is {pool};"
                    " lower it or raise that"
                )


def _check_search(config) -> None:
    search = config.search
    if search.rewards and config.model.negtome:
        raise ValueError(
            "search.rewards: a real search drops candidates, but with NegToMe the others of their group depend"
            " on them; give [], or model.negtome: null"
        )
    for name in search.rewards:
        if name not in config.rewards:
            raise ValueError(f"search.rewards: {name!r} is not one of the rewards {', '.join(config.rewards)}")
    for key in ("rewards", "budgets"):
        values = getattr(search, key)
        if len(set(values)) < len(values):
            raise ValueError(f"search.{key}: {values} repeats a value; give each once")
    for budget in search.budgets:
        if float(f"{budget:g}") != budget:  # it is a part of file names
            raise ValueError(f"search.budgets: {budget} has more than six digits; round it")
        if search.unit == "candidates" and not 1 <= budget <= MOST_CANDIDATES:
            raise ValueError(f"search.budgets: {budget:g} candidates; give 1 to {MOST_CANDIDATES}, or unit: tflop")
