"""Compare what files were made from, so that only images, scores, tensors and weights of one model are combined.

A record is a table of plain values, held by image shards, score files, reward tensors, checkpoints and the JSON of
commands. Code that combines two of them calls `check_same`.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from ttsnap.errors import BadInput

# What defines a noise level: step 5 of another noise schedule shows something else.
NOISE_LEVELS = ("steps", "scheduler", "prediction_type")
REWARD_KEYS = (  # attributes of a reward tensor that do not describe its images
    "reward", "reward_made_from", "reward_version", "reward_tflop", "look_tflop", "final_look_tflop", "levels",
    "level_versions", "units", "source", "schema", "schema_version",
)  # fmt: skip


def flat(record: Mapping, prefix: str = "") -> dict[str, object]:
    """A nested table as a flat one with dotted keys."""
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

    where, other: the files of the two records. only: the top-level keys to compare; apart_from: the keys, dotted or
    not, to skip. known: compare only keys that both records have, as imported files record little.
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
    """Those of a tensor's attributes that say what its images were made from."""
    return {key: value for key, value in attributes.items() if key not in REWARD_KEYS}


def check_once(prompts: Iterable[str], digests: Iterable[str], where: object) -> None:
    """Raise BadInput when the same images of a prompt come twice; a prompt with other images may."""
    for (prompt, _), count in Counter(zip(prompts, digests, strict=True)).items():
        if count > 1:
            raise BadInput(f"{where}: the images of {prompt[:60]!r} come {count} times; give every file once")
