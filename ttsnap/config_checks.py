"""What must hold between the keys of a config, and of the files it names, before any job starts."""

from pathlib import Path

from ttsnap.errors import BadInput
from ttsnap.models import check_model, check_there, resolve
from ttsnap.prompts import normal_form
from ttsnap.rewards.registry import check_options
from ttsnap.seeds import MOST_CANDIDATES

MOST_BUDGETS, MOST_SHARDS = 1000, 10_000  # shards are numbered with four digits


def check_together(config) -> None:
    """Raise ValueError, beginning with the key at fault, where the values of a `Config` do not go together."""
    last = config.model.steps - 1
    if last < 1:
        raise ValueError("model.steps: 1 leaves nothing to prune; give at least 2")
    for split in ("validation", "test"):
        if getattr(config.prompts, split).candidates < 2:
            raise ValueError(
                f"prompts.{split}.candidates: 1 leaves nothing to choose from; give at least 2"
            )
    _check_levels(config, last)
    schedule = config.simulate.schedule
    if schedule != "fit" and schedule.steps and schedule.steps[-1] >= last:
        raise ValueError(
            f"simulate.schedule.steps: {schedule.steps[-1]} is not before the final step {last}"
        )
    _check_budgets(config)
    _check_search(config)


def _check_levels(config, last: int) -> None:
    for level in config.levels:
        if level >= last:
            raise ValueError(
                f"levels: {level} is not before the final step {last} (model.steps is {last + 1})"
            )
    if sorted(set(config.levels), reverse=True) != config.levels:
        raise ValueError(
            f"levels: {config.levels} must descend, from clean to noisy, each level once"
        )
    for name, reward in config.rewards.items():
        for level in reward.finetune.lr_at:
            if level not in config.levels:
                raise ValueError(
                    f"rewards.{name}.finetune.lr_at: {level} is none of the levels {config.levels}"
                )


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
            raise ValueError(
                f"simulate.budgets.last: {budgets.last:g} pays for no candidate; give 1 or more"
            )
        for split in ("test", "validation") if fitted else ("test",):
            pool = getattr(config.prompts, split).candidates
            if budgets.first > pool:
                raise ValueError(
                    f"simulate.budgets.first: {budgets.first:g} candidates, but prompts.{split}.candidates is {pool};"
                    " lower the one or raise the other"
                )


def _check_search(config) -> None:
    search = config.search
    if search.rewards and config.model.negtome:
        raise ValueError(
            "search.rewards: a real search drops candidates, on which NegToMe lets the others of their group"
            " depend; give [], or model.negtome: null"
        )
    for name in search.rewards:
        if name not in config.rewards:
            raise ValueError(
                f"search.rewards: {name!r} is none of the rewards {', '.join(config.rewards)}"
            )
    for key in ("rewards", "budgets"):
        values = getattr(search, key)
        if len(set(values)) < len(values):
            raise ValueError(f"search.{key}: one stands twice in {values}")
    for budget in search.budgets:
        if float(f"{budget:g}") != budget:  # it is a part of file names
            raise ValueError(f"search.budgets: {budget} has more than six digits; round it")
        if search.unit == "candidates" and not 1 <= budget <= MOST_CANDIDATES:
            raise ValueError(
                f"search.budgets: {budget:g} candidates; give 1 to {MOST_CANDIDATES}, or unit: tflop"
            )


def check_files(config) -> None:
    """Look at every file that a `Config` names.

    Raises BadInput, naming the key, for one that is missing or bad, for options that a reward does not take, and for
    a prompt in two sets.
    """
    check_model(config.model.path, "model.path")
    for name, reward in config.rewards.items():
        check_options(
            reward.kind, reward.options, f"rewards.{name}.kind", f"rewards.{name}.options."
        )
    data = config.sft.data
    for key in ("model", "features", "data.folder", "data.file", "data.test_file"):
        at = data if key.startswith("data.") else config.sft
        if value := getattr(at, key.removeprefix("data.")):
            check_there(value, f"sft.{key}")
    if config.sft.model:
        gan = (Path(resolve(config.sft.model)) / "config.json").is_file()  # a pipeline has none
        if gan == (data.kind == "pairs"):
            what = "a GAN" if gan else "a pipeline"
            other = "a data set with classes" if gan else "pairs"
            raise BadInput(
                f"sft.model: {config.sft.model} is {what}, which takes {other}; sft.data.kind is {data.kind}"
            )
        if not gan:
            check_model(config.sft.model, "sft.model")
    if data.kind == "pairs":
        _check_pairs(data)
    _check_prompts(config)


def _check_pairs(data) -> None:
    from ttsnap.sft.targets import image_files, same_image

    where = (data.folder, data.image_field)
    train = image_files(data.file, *where, data.start, data.limit)
    if found := same_image(train, image_files(data.test_file, *where, 0, data.test_limit)):
        raise BadInput(
            f"sft.data.test_file: {found[1]} is also the training image {found[0]} of sft.data.file; "
            "held-out targets must be held out: remove it from one"
        )


def _check_prompts(config) -> None:
    seen: dict[str, tuple[str, str]] = {}  # normal form: (split, prompt)
    for split in ("train", "validation", "test"):
        prompts, size = config.read_prompts(split), getattr(config.prompts, split).shard_size
        if len(prompts) > MOST_SHARDS * size:
            raise BadInput(
                f"prompts.{split}.shard_size: {size} makes more than {MOST_SHARDS} shards of {len(prompts)} prompts;"
                " give a larger one"
            )
        for prompt in prompts:
            form = normal_form(prompt)
            other, text = seen.setdefault(form, (split, prompt))
            if other != split:
                written = "" if text == prompt else f" as {text[:60]!r}"
                raise BadInput(
                    f"prompts.{split}.file: {prompt[:60]!r} also stands in prompts.{other}.file{written}; "
                    "held-out prompts must be held out: remove it from one"
                )
        if config.checker == "shapes":
            _check_captions(prompts, split)
        if split == "validation" and config.simulate.schedule == "fit" and len(prompts) < 2:
            raise BadInput(
                "prompts.validation.file: a schedule is fitted on some of its prompts and tried on others;"
                " give at least 2, or a simulate.schedule of your own"
            )


def _check_captions(prompts: list[str], split: str) -> None:
    from ttsnap.shapes.captions import parse

    for prompt in prompts:
        if parse(prompt) is None:
            raise BadInput(
                f"prompts.{split}.file: {prompt[:60]!r} is no caption of the shapes world; "
                "set checker: null for prompts of your own"
            )
