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
    if config.simulate.schedule != "fit":
        try:
            config.simulate.schedule.fixed(config.model.steps, "simulate.schedule")
        except BadInput as error:
            raise ValueError(str(error)) from None
    _check_budgets(config)
    _check_search(config)


def _check_levels(config, last: int) -> None:
    for level in config.levels:
        if level >= last:
            raise ValueError(f"levels: {level} is not before the final step {last} (model.steps is {last + 1})")
    if sorted(set(config.levels), reverse=True) != config.levels:
        raise ValueError(f"levels: {config.levels} must descend, from clean to noisy, each level once")
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
