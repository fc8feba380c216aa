"""Join the score files of a reward's shards into its reward tensor."""

from collections.abc import Sequence

import numpy as np

from ttsnap.errors import foreign_content
from ttsnap.storage.provenance import check_same
from ttsnap.storage.scores import Scores, check_images, join_scores
from ttsnap.storage.tensor import RewardTensor


def join_tensor(base: Sequence[str], noise_aware: Sequence[str] = (), accepted: Sequence[str] = ()) -> RewardTensor:
    """The tensor of score files of the base reward, the level checkpoints and a checker.

    Raises BadInput unless all were read from the same images, and the checkpoints are of that reward.
    """
    with foreign_content(base[0], "scores", "run score again"):
        return _join(base, noise_aware, accepted)


def _join(base_files: Sequence[str], aware_files: Sequence[str], checked_files: Sequence[str]) -> RewardTensor:
    base = join_scores(base_files, "base")
    images, about = base.attributes["images"], base.attributes
    aware = join_scores(aware_files, "noise_aware") if aware_files else None
    checked = join_scores(checked_files, "checker") if checked_files else None
    for files, scores in ((aware_files, aware), (checked_files, checked)):
        if scores:
            check_images(files[0], scores, base_files[0], images, base.prompts, base.digests)
    if aware:
        same, again = ("reward", "made_from", "raw", "units"), "run score again with one reward"
        check_same(aware_files[0], aware.attributes, base_files[0], about, again, only=same)
    scale, shift = np.float32(about["raw"])  # tensors hold raw values, like the published ones
    steps = images["steps"]
    return RewardTensor(
        base=_spread(base, steps) * scale + shift,
        noise_aware=_spread(aware, steps) * scale + shift if aware else None,
        accepted=np.nan_to_num(_spread(checked, steps)).astype(np.uint8) if checked else None,
        prompts=base.prompts,
        attrs=_attributes(about, aware.attributes["levels"] if aware else {}),
        image_digests=base.digests,
    )


def _spread(scores: Scores, steps: int) -> np.ndarray:
    """Scores [P,C,K] of some steps as float32 [P,C,S] of all, NaN elsewhere."""
    full = np.full((*scores.values.shape[:2], steps), np.nan, np.float32)
    full[:, :, scores.steps] = scores.values
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
        found["look_tflop"] = images["decode_tflop"] + reward_tflop
    return found
