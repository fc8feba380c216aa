# What the rules share: the validated config, the shards, and what forces a stage to run again.
#
# A rule's params hold the config leaves it uses, a digest of the code behind it, and for a shard the digest of its
# prompts. Nothing else makes it run again: no file time of a config or prompt file, no unrelated key.
import functools
import hashlib
import shlex

from snakemake.exceptions import WorkflowError

from ttsnap.storage import code_digest as stages
from ttsnap.commands.check import CHECKERS
from ttsnap.settings.config import parse_config
from ttsnap.settings.files import at_fault, read_parts
from ttsnap.errors import BadInput
from ttsnap.models import weights_digest
from ttsnap.storage.prompts import shards
from ttsnap.workflow.checks import check_files, config_prompts
from ttsnap.rewards.registry import identity, reward_module

LOGS = "results/logs"
code = functools.cache(stages.code)  # asked for by every job

if "preset" in MODEL_GIVEN:
    # A preset is a whole model: what config.yaml says of another one is no part of it.
    config["model"] = MODEL_GIVEN


def config_parts():
    """What every config file and --config hold, the weakest first; Snakemake merges them into one."""
    settings = workflow.config_settings
    own = [path for path in workflow.configfiles if path not in settings.configfiles]
    files = [
        *([] if settings.replace_workflow_config else own),
        *settings.configfiles,
    ]
    return read_parts(files, settings.config)


def refusal(error):
    """An error of the config, to be raised: with the file at fault."""
    return WorkflowError(f"{at_fault(str(error), CONFIG_PARTS)}: {error}")


try:
    CONFIG_PARTS = config_parts()
except BadInput as error:
    raise WorkflowError(str(error)) from None

try:
    CONFIG = parse_config(config, "")
    check_files(CONFIG)
    SHARDS = {
        split: shards(
            config_prompts(CONFIG, split), getattr(CONFIG.prompts, split).shard_size
        )
        for split in ("train", "validation", "test")
    }
    WEIGHTS = weights_digest(CONFIG.model.path)
    REWARD_WEIGHTS = {
        name: identity(reward.kind, reward.options)
        for name, reward in CONFIG.rewards.items()
    }
except BadInput as error:
    raise refusal(error) from None

LAST = CONFIG.model.steps - 1


wildcard_constraints:
    split="train|validation|test",
    shard=r"\d{4}",
    reward="|".join(CONFIG.rewards),
    level=r"\d+",
    method="ttsp|ttsnap",


def of_shards(pattern, split, **others):
    """The files that `pattern` names for every shard of a split."""
    numbers = range(len(SHARDS[split]))
    return [pattern.format(split=split, shard=f"{s:04d}", **others) for s in numbers]


def shard_digest(wildcards):
    """What a shard holds: the text of its prompts."""
    text = "\0".join(SHARDS[wildcards.split][int(wildcards.shard)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def shard_end(wildcards):
    """How many prompts its set has up to the end of a shard, which may be cut by the set's limit."""
    shard = int(wildcards.shard)
    size = prompt_settings(wildcards).shard_size
    return shard * size + len(SHARDS[wildcards.split][shard])


def prompt_settings(wildcards):
    """The config of a split's prompts."""
    return getattr(CONFIG.prompts, wildcards.split)


def model_arguments(steps="steps"):
    """The command-line options of the model; what is as by default is left out. steps: what that option is called."""
    values = CONFIG.model.model_dump(exclude_defaults=True)
    values.pop("preset", None)
    words = [f"--model {shlex.quote(values.pop('path'))}"]
    negtome = values.pop("negtome", None)
    if negtome is not None:
        words.append("--negtome " + " ".join(f"{k}={v}" for k, v in negtome.items()))
    for key, value in values.items():
        option = f"--{steps if key == 'steps' else key.replace('_', '-')}"
        words.append(option if value is True else f"{option} {value}")
    return " ".join(words)


def reward_arguments(name):
    """The command-line options that name a reward."""
    reward = CONFIG.rewards[name]
    options = " ".join(
        f"--option {shlex.quote(f'{key}={value}')}"
        for key, value in reward.options.items()
    )
    return f"--kind {reward.kind} --name {name} {options}"


def reward_weights(name):
    """What a reward is made with, its files by content."""
    return REWARD_WEIGHTS[name]


def reward_code(name):
    """The module a reward's class lives in."""
    return reward_module(CONFIG.rewards[name].kind)


def with_flag(flag, paths):
    """`flag path path …`, or nothing when there are no paths."""
    return f"{flag} {' '.join(paths)}" if paths else ""


def previous_level(wildcards):
    """The checkpoint a level starts from; the cleanest level starts from the base weights."""
    place = CONFIG.levels.index(int(wildcards.level))
    if not place:
        return []
    return [f"results/levels/{wildcards.reward}/{CONFIG.levels[place - 1]}.safetensors"]


def launcher(resources):
    """How a training starts: one process for each GPU the rule got, whatever a person's own accelerate config says."""
    count = int(resources.get("gpu", 1))
    if count < 2:
        return "python -m"
    return (
        f"accelerate launch --multi_gpu --num_processes {count} --num_machines 1 --main_process_port 0"
        " --mixed_precision no --dynamo_backend no -m"
    )


def finetune_arguments(wildcards):
    """The command-line options of a reward's finetuning settings at one level."""
    settings = CONFIG.rewards[wildcards.reward].finetune.at(int(wildcards.level))
    lora = settings.pop("lora")
    words = [f"--{key.replace('_', '-')} {value}" for key, value in settings.items()]
    if lora:
        words.append(f"--lora-rank {lora['rank']} --lora-alpha {lora['alpha']}")
    return " ".join(words)


FITTED = CONFIG.simulate.schedule == "fit"
BUDGETS = "{b.first}:{b.last}:{b.step} --budgets-in {b.unit}".format(
    b=CONFIG.simulate.budgets
)
# Schedules are fitted on seven eighths of the validation prompts; the rest says how well they carry over.
VALIDATION_PROMPTS = sum(map(len, SHARDS["validation"]))
FIT_PROMPTS = max(1, VALIDATION_PROMPTS * 7 // 8)


def schedule_arguments(wildcards, input):
    """The schedules of a simulation: fitted on the validation prompts, or the config's for both methods."""
    if FITTED:
        return f"--schedule {input.ttsnap} --ttsp-schedule {input.ttsp}"
    return own_schedule()


def own_schedule():
    """The command-line options of the config's schedule, which may have no step at all."""
    steps, keep = (
        shlex.quote(",".join(map(str, values)))
        for values in (CONFIG.simulate.schedule.steps, CONFIG.simulate.schedule.keep)
    )
    return f"--steps {steps} --keep {keep}"


def schedule_of(method):
    """Input function: the fitted schedule of a simulation; that of the first reward when it prunes by all."""

    def fitted(wildcards):
        reward = (
            next(iter(CONFIG.rewards))
            if wildcards.pruned_by == "all"
            else wildcards.pruned_by
        )
        return f"results/schedules/{reward}.{method}.json" if FITTED else []

    return fitted
