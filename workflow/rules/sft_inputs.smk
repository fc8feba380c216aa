# What the rules of the second method share: targets and their shards, models and where they come from
import functools

from ttsnap.commands.settings_options import words
from ttsnap.sft.digests import data_digest, pair_lines, pairs_digest
from ttsnap.settings.sft import SIZES

SFT = CONFIG.sft
RUN = "results/sft/runs/{seed}"
WAYS = ["direct", "matched"]


wildcard_constraints:
    seed=r"\d+",
    cycle=r"\d+",
    way="base|direct|matched",
    part="train|test",


def pairs_file(part):
    """The pairs file of a part."""
    return SFT.data.file if part == "train" else SFT.data.test_file


@functools.cache
def extent(part):
    """(split, first target, how many) of the training or of the held-out targets."""
    data = SFT.data
    of_test = part == "test"
    split = "test" if of_test else data.split
    first = 0 if of_test else data.start
    if of_test and data.split == "test" and data.kind != "pairs":
        first = data.start + (data.limit or 0)  # behind the training ones
    if data.kind == "pairs":
        there = len(pair_lines(pairs_file(part)))
    else:
        there = SIZES[data.kind][split]
    count = max(
        0, min(there - first, (data.test_limit if of_test else data.limit) or there)
    )
    if not count:
        raise refusal(f"sft.data: leaves no {part} target")
    return split, first, count


def sft_shards():
    """The numbers of the shards of training targets."""
    return range(-(-extent("train")[2] // SFT.data.shard_size))


def targets_of(part, shard=None):
    """(split, first target, how many) of a part, or of one shard of it."""
    data, (split, first, count) = SFT.data, extent(part)
    if shard is not None:
        before = shard * data.shard_size
        return split, first + before, min(data.shard_size, count - before)
    # of the training targets as many as are held out
    return split, first, min(count, data.test_limit)


def target_arguments(part, shard=None):
    """The command-line options that name the targets of a part, or of one shard of it."""
    data, (split, first, count) = SFT.data, targets_of(part, shard)
    where = f"--start-index {first} --limit {count}"
    if data.kind != "pairs":
        return f"--data {data.kind} {folder_argument()} --split {split} {where}"
    root = f"--data-root {shlex.quote(data.folder)}" if data.folder else ""
    return (
        f"--pairs {shlex.quote(pairs_file(part))} {root} --prompt-field {shlex.quote(data.prompt_field)}"
        f" --image-field {shlex.quote(data.image_field)} {where}"
    )


def folder_argument():
    """Where the files of a labelled data set lie."""
    return f"--folder {shlex.quote(SFT.data.folder)}" if SFT.data.folder else ""


@functools.cache
def targets_digest(part, shard=None):
    """What those targets are, by content."""
    data, (split, first, count) = SFT.data, targets_of(part, shard)
    if data.kind != "pairs":
        return data_digest(data.kind, data.folder, split)
    fields = data.prompt_field, data.image_field
    return pairs_digest(pairs_file(part), data.folder, *fields, first, count)


def labelled_digest(*splits):
    """What splits of a labelled data set are, by content; pairs have none."""
    data = SFT.data
    if data.kind == "pairs":
        return []
    return [data_digest(data.kind, data.folder, split) for split in splits]


def model_path(seed, way, cycle):
    """The generator that a way of training has after a cycle; after cycle 0 the original one."""
    if way == "base" or int(cycle) == 0:
        return SFT.model or f"results/sft/gan/{seed}"
    return f"results/sft/runs/{seed}/{way}/{cycle}/checkpoint-final"


def model_file(seed, way, cycle):
    """The file that says that this generator is there."""
    if way == "base" or int(cycle) == 0:
        return [] if SFT.model else [f"results/sft/gan/{seed}/generator.safetensors"]
    return [f"results/sft/runs/{seed}/{way}/{cycle}/train_summary.json"]


def size_argument():
    """The image side of a pipeline."""
    return f"--size {SFT.size}" if SFT.size else ""


def sft_weights():
    """A digest of the weights that the config names."""
    return [weights_digest(path) for path in (SFT.model, SFT.features) if path]


def sft_models():
    """Every generator that is compared: (way, cycle)."""
    cycles = range(1, SFT.cycles + 1)
    return [("base", 0)] + [(way, cycle) for way in WAYS for cycle in cycles]


def previous_assignment(wildcards):
    """The manifest that a cycle goes on from; the first starts from the targets' base noise."""
    cycle = int(wildcards.cycle) - 1
    if not cycle:
        return []
    return [
        f"results/sft/runs/{wildcards.seed}/assigned/{cycle}/{wildcards.shard}/manifest.jsonl"
    ]


def judge(wildcards):
    """The judge of generated images: the classifier of a labelled data set, or a CLIP."""
    return [] if SFT.features else ["results/sft/classifier.safetensors"]


def compared(kind, seeds):
    """The comparison files of every model, for some seeds."""
    return [
        f"results/sft/runs/{seed}/compare/{way}.{cycle}.{kind}"
        for seed in seeds
        for way, cycle in sft_models()
    ]
