"""What must hold of the files that a config names, before any job starts."""

from pathlib import Path

from ttsnap.commands.draft_options import check_draft_files
from ttsnap.errors import BadInput
from ttsnap.models import check_model, check_there, resolve
from ttsnap.models.latents import check_decoder
from ttsnap.pruning.schedule import Look
from ttsnap.rewards.registry import check_options
from ttsnap.settings.config import Config
from ttsnap.storage.checkpoints import read_about
from ttsnap.storage.prompts import normal_form, read_prompts
from ttsnap.storage.provenance import check_same

MOST_SHARDS = 10_000  # they are numbered with four digits


def config_prompts(config: Config, split: str) -> list[str]:
    """The prompts of one set, cut to its limit. Raises BadInput, naming the key, as `prompts.read_prompts` does."""
    prompts = getattr(config.prompts, split)
    try:
        return read_prompts(prompts.file)[: prompts.limit]
    except BadInput as error:
        raise BadInput(f"prompts.{split}.file: {error}") from None


def check_files(config: Config) -> None:
    """Look at every file that a `Config` names.

    Raises BadInput, naming the key, for one that is missing or bad, for options that a reward does not take, and for
    a prompt in two sets.
    """
    check_model(config.model.path, "model.path")
    if config.looks.decoder:
        check_there(config.looks.decoder, "looks.decoder")
        check_decoder(config.looks.decoder, config.model.path, "looks.decoder")
    for name, draft in config.drafts.items():
        check_draft_files(draft, config.model.path, f"drafts.{name}")
    for name, reward in config.rewards.items():
        check_options(reward.kind, reward.options, f"rewards.{name}.kind", f"rewards.{name}.options.")
        for level in config.levels if reward.finetune.start else []:
            _check_start(config, name, level)
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


def named_file(named: str, key: str, remedy: str) -> Path:
    """The file of a path, which may begin with `embedded:`. Raises BadInput, naming the key, where there is none."""
    try:
        file = Path(resolve(named))
    except BadInput:  # no such embedded model
        file = Path(named)
    if not file.is_file():
        raise BadInput(f"{key}: {named}: no such file; {remedy}")
    return file


def _check_start(config: Config, name: str, level: Look) -> None:
    """Look at the checkpoint that a level starts from: it may be of another look, not of other settings."""
    settings, key = config.rewards[name].finetune, f"rewards.{name}.finetune.start"
    named = settings.start.replace("{level}", str(level))
    all_levels = f"name a checkpoint for each of the levels {config.levels}, take this one from the levels"
    file = named_file(named, key, f"{all_levels}, or set start: null")
    about, where = read_about(file), f"{key}: {named}"
    lora = settings.lora and settings.lora.model_dump()
    if about["lora"] != lora:
        raise BadInput(
            f"{where}: has LoRA {about['lora']}, rewards.{name}.finetune.lora says {lora}; write the same, or"
            " start: null"
        )
    made, asked = about["images"], config.model.steps
    if about["level"] in config.drafts:
        made, asked = made.get("drafts", {}).get(about["level"], {}), config.drafts[about["level"]].steps
    remedy = "name a checkpoint of such looks, or set start: null"
    check_same(where, made, "the config", {"steps": asked}, remedy, only=("steps",), known=True)


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
        prompts, size = config_prompts(config, split), getattr(config.prompts, split).shard_size
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
