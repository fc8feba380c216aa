"""`ttsnap tensor`: join scored shards into one reward tensor (HDF5)."""

import argparse

from ttsnap.commands.options import in_file, out_file
from ttsnap.errors import foreign_content


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--base", type=in_file, nargs="+", required=True, help="score files of the base reward"
    )
    parser.add_argument(
        "--noise-aware",
        type=in_file,
        nargs="+",
        default=[],
        help="score files of the level checkpoints",
    )
    parser.add_argument(
        "--accepted", type=in_file, nargs="+", default=[], help="score files of the checker"
    )
    parser.add_argument("--out", type=out_file, required=True, help="reward tensor (HDF5)")


def run(args: argparse.Namespace) -> dict:
    """Join and write; return the tensor's shape and attributes."""
    with foreign_content(args.base[0], "scores", "run score again"):
        return _join(args)


def _join(args: argparse.Namespace) -> dict:
    import numpy as np

    from ttsnap.storage.provenance import check_same
    from ttsnap.storage.scores import check_images, join_scores
    from ttsnap.storage.tensor import RewardTensor, write_tensor

    base = join_scores(args.base, "base")
    images, about = base.attributes["images"], base.attributes
    aware = join_scores(args.noise_aware, "noise_aware") if args.noise_aware else None
    checked = join_scores(args.accepted, "checker") if args.accepted else None
    for paths, scores in ((args.noise_aware, aware), (args.accepted, checked)):
        if scores:
            check_images(paths[0], scores, args.base[0], images, base.prompts, base.digests)
    if aware:
        same = ("reward", "made_from", "raw", "units")
        again = "run score again with one reward"
        check_same(args.noise_aware[0], aware.attributes, args.base[0], about, again, only=same)
    scale, shift = np.float32(about["raw"])  # tensors hold raw values, as published ones do

    def spread(scores) -> np.ndarray:
        full = np.full((*base.values.shape[:2], images["steps"]), np.nan, np.float32)
        full[:, :, scores.steps] = scores.values
        return full

    levels = aware.attributes["levels"] if aware else {}
    tensor = RewardTensor(
        base=spread(base) * scale + shift,
        noise_aware=spread(aware) * scale + shift if aware else None,
        accepted=np.nan_to_num(spread(checked)).astype(np.uint8) if checked else None,
        prompts=base.prompts,
        attrs={
            **images,
            "reward": about["reward"],
            "reward_version": about["made_from"]["version"],
            "reward_made_from": about["made_from"],
            "units": about["units"],
            "level_versions": ",".join(f"{level}:{version}" for level, version in levels.items()),
            "reward_tflop": about["reward_tflop"],
            **(
                {"look_tflop": images["decode_tflop"] + about["reward_tflop"]}
                if "decode_tflop" in images
                else {}
            ),
        },
        image_digests=base.digests,
    )
    write_tensor(args.out, tensor)
    return {"shape": list(tensor.base.shape), "levels": tensor.levels, **tensor.attrs}
