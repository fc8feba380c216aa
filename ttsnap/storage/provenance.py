"""What files were made from, compared in one place: images of one model with scores, tensors and weights of the same.

A record is a table of plain values. Image shards, score files, reward tensors, checkpoints and the JSON of commands
hold theirs; whoever combines two of them calls `check_same`.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from ttsnap.errors import BadInput

# What a noise level is: step 5 of another schedule of noise shows something else.
NOISE_LEVELS = ("steps", "scheduler", "prediction_type")
REWARD_KEYS = (  # attributes of a reward tensor that are not of its images
    "reward", "reward_made_from", "reward_version", "reward_tflop", "look_tflop", "levels", "level_versions", "units",
    "source", "schema", "schema_version",
)  # fmt: skip


def flat(record: Mapping, prefix: str = "") -> dict[str, object]:
    """A nested table as one of dotted keys."""
    found: dict[str, object] = {}
    for key, value in record.items():
        inner = isinstance(value, Mapping)
        found |= flat(value, f"{prefix}{key}.") if inner else {f"{prefix}{key}": value}
    return found


def check_same(
    where: object,
    record: Mapping,
    other: object,
    expected: Mapping,
    remedy: str,
    *,
    only: Collection[str] | None = None,
    apart_from: Collection[str] = (),
    known: bool = False,
) -> None:
    """Raise BadInput, naming both files and the first key that differs, unless two records agree.

    where, other: the files they are of. only: the keys that count; apart_from: those that do not, dotted ones too.
    known: compare only what both records know, as imported files know little.
    """
    ours, theirs = flat(record), flat(expected)
    for key in dict.fromkeys([*theirs, *ours]):
        top = key.partition(".")[0]
        if {key, top} & {*apart_from} or (only is not None and top not in only):
            continue
        if known and not (key in ours and key in theirs):
            continue
        mine, wanted = ours.get(key), theirs.get(key)
        if mine != wanted:
            name = key.replace(".", " ").replace("_", " ")
            raise BadInput(f"{where}: made with {name} {mine}, {other} with {wanted}; {remedy}")


def images_record(attributes: Mapping) -> dict:
    """The part of a tensor's attributes that says what its images were made from."""
    return {key: value for key, value in attributes.items() if key not in REWARD_KEYS}


def check_once(prompts: Iterable[str], digests: Iterable[str], where: object) -> None:
    """Raise BadInput where the images of a prompt come twice; a prompt may, with other images."""
    for (prompt, _), count in Counter(zip(prompts, digests, strict=True)).items():
        if count > 1:
            raise BadInput(f"{where}: the images of {prompt[:60]!r} come {count} times; give every file once")
