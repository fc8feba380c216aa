"""What a level's checkpoint says of itself: its look, its adapters, what it was made from. Needs no torch."""

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import safe_open

from ttsnap.errors import BadInput, reads
from ttsnap.storage.files import reading
from ttsnap.storage.provenance import NOISE_LEVELS, check_same


@reads("a level checkpoint of ttsnap", "run finetune again")
def read_about(path: str | Path) -> dict:
    """The metadata of a level's checkpoint. Raises BadInput for any other file."""
    with reading(path, "not a level checkpoint of ttsnap"), safe_open(path, framework="np") as file:
        about = json.loads((file.metadata() or {})["ttsnap"])
    try:
        level, lora, _, _, _ = (about[key] for key in ("level", "lora", "version", "reward", "images"))
        if not (type(level) is int and level >= 0 or isinstance(level, str)) or not {"rank", "alpha"} <= set(
            lora or ("rank", "alpha")
        ):
            raise ValueError
    except (KeyError, TypeError, ValueError):
        raise BadInput(f"{path}: does not say what it was made from; run finetune again") from None
    return about


def check_noise_levels(path: str | Path, where: object, images: Mapping) -> None:
    """Raise BadInput where a checkpoint was finetuned for other noise levels than those of `images`, found in `where`.

    Step 5 of 20 is not as noisy as step 5 of 10; a draft is one of other settings.
    """
    about = read_about(path)
    level, made_from = about["level"], about["images"]
    if not isinstance(level, str):
        remedy = "finetune on images of the same steps"
        check_same(path, made_from, where, images, remedy, only=NOISE_LEVELS, known=True)
        return
    ours, theirs = (record.get("drafts", {}).get(level) for record in (made_from, images))
    if theirs is None:
        raise BadInput(f"{path}: is of draft {level}, which {where} does not have; give the checkpoints of its looks")
    check_same(path, ours or {}, where, theirs, "finetune on such drafts", apart_from=("tflop", "dtype"))
