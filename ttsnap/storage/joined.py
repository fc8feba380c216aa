"""Join the score files of a reward's shards into its reward tensor."""

from collections.abc import Sequence

import numpy as np

from ttsnap.errors import BadInput, foreign_content
from ttsnap.storage.provenance import check_same
from ttsnap.storage.scores import Scores, check_images, join_scores, read_scores
from ttsnap.storage.tensor import RewardTensor


def join_tensor(base: Sequence[str], noise_aware: Sequence[str] = (), accepted: Sequence[str] = ()) -> RewardTensor:
    """The tensor of score files of the base reward, the level checkpoints and a checker.

    Files of drafts may stand among those of steps. Raises BadInput unless all were read from the same images or drafts
    of the same candidates, and the checkpoints are of that reward.
    """
    with foreign_content(base[0], "scores", "run score again"):
        return _join(base, noise_aware, accepted)


def _join(base_files: Sequence[str], aware_files: Sequence[str], checked_files: Sequence[str]) -> RewardTensor:
    base, base_drafts = _steps_and_drafts(base_files, "base")
    aware, aware_drafts = _steps_and_drafts(aware_files, "noise_aware")
    checked, checked_drafts = _steps_and_drafts(checked_files, "checker")
    if checked_drafts:
        raise BadInput(f"{checked_files[0]}: of the checker's verdicts some are of drafts; give those of steps alone")
    if base is None:
        raise BadInput(f"{base_files[0]}: is of drafts alone; give the base scores of the steps too")
    images, about = base.attributes["images"], base.attributes
    for files, scores in ((aware_files, aware), (checked_files, checked)):
        if scores:
            check_images(files[0], scores, base_files[0], images, base.prompts, base.digests)
    for scores in (base_drafts, aware_drafts):
        if scores:
            check_images("scores of drafts", scores, base_files[0], images, base.prompts, None)
    if base_drafts and aware_drafts:
        where, other = "noise-aware scores of drafts", "base scores of drafts"
        made = base_drafts.attributes["images"]
        check_images(where, aware_drafts, other, made, base_drafts.prompts, base_drafts.digests)
    for scores in (base_drafts, aware, aware_drafts):
        if scores:
            same, again = ("reward", "made_from", "raw", "units"), "run score again with one reward"
            check_same(f"scores of {scores.looks}", scores.attributes, base_files[0], about, again, only=same)
    drafts = list((base_drafts or aware_drafts).looks) if base_drafts or aware_drafts else []
    looks = [*drafts, *range(images["steps"])]
    scale, shift = np.float32(about["raw"])  # tensors hold raw values, like the published ones
    levels = [scores.attributes["levels"] for scores in (aware, aware_drafts) if scores]
    made = base_drafts or aware_drafts
    return RewardTensor(
        base=_spread([base, base_drafts], looks) * scale + shift,
        noise_aware=_spread([aware, aware_drafts], looks) * scale + shift if levels else None,
        accepted=np.nan_to_num(_spread([checked], looks[len(drafts) :])).astype(np.uint8) if checked else None,
        prompts=base.prompts,
        drafts=drafts,
        attrs=_attributes(about, {k: v for part in levels for k, v in part.items()})
        | ({"drafts": made.attributes["images"]["drafts"]} if made else {}),
        image_digests=base.digests,
    )


def _steps_and_drafts(paths: Sequence[str], kind: str) -> tuple[Scores | None, Scores | None]:
    """The scores of steps and those of drafts, each joined over the shards; None where there are none."""
    of_drafts = {path: read_scores(path).of_drafts for path in paths}
    parts = ([path for path in paths if of_drafts[path] == drafts] for drafts in (False, True))
    steps, drafts = (join_scores(part, kind) if part else None for part in parts)
    return steps, drafts


def _spread(parts: Sequence[Scores | None], looks: list) -> np.ndarray:
    """Scores [P,C,K] of some looks as float32 [P,C,L] of all, NaN elsewhere."""
    known = [part for part in parts if part]
    full = np.full((*known[0].values.shape[:2], len(looks)), np.nan, np.float32)
    for part in known:
        full[:, :, [looks.index(look) for look in part.looks]] = part.values
    return full


def _attributes(about: dict, levels: dict) -> dict:
    """A tensor's attributes from those of its base scores; levels: {level: version of its checkpoint}."""
    images, reward_tflop = about["images"], about["reward_tflop"]
    found = {
        **images,
        "reward": about["reward"],
        "reward_version": about["made_from"]["version"],
        "reward_made_from": about["made_from"],
        "units": about["units"],
        "level_versions": ",".join(f"{level}:{version}" for level, version in levels.items()),
        "reward_tflop": reward_tflop,
    }
    if "decode_tflop" in images:
        found["look_tflop"] = images.get("look_decode_tflop", images["decode_tflop"]) + reward_tflop
        if "look_decode_tflop" in images:
            found["final_look_tflop"] = images["decode_tflop"] + reward_tflop
    return found
