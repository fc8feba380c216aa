"""`ttsnap tensor`: join scored shards into one reward tensor (HDF5, DESIGN §5)."""

import argparse

from ttsnap.commands.options import in_file, out_file
from ttsnap.errors import BadInput


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
    import numpy as np

    from ttsnap.scores import join_scores
    from ttsnap.tensor import RewardTensor, write_tensor

    base = join_scores(args.base)
    parts = {"base": base}
    for name, paths in (("noise_aware", args.noise_aware), ("accepted", args.accepted)):
        if paths:
            parts[name] = join_scores(paths)
            if parts[name].prompts != base.prompts:
                raise BadInput(
                    f"{paths[0]}: is of other prompts than {args.base[0]}; run score again"
                )
    images, reward = base.attributes["images"], base.attributes["reward_tflop"]

    def spread(scores) -> np.ndarray:
        full = np.full((*base.values.shape[:2], images["steps"]), np.nan, np.float32)
        scale, shift = scores.attributes.get("raw", (1, 0))  # tensors hold raw values (DESIGN §3)
        full[:, :, scores.steps] = scores.values * np.float32(scale) + np.float32(shift)
        return full

    levels = parts["noise_aware"].attributes["levels"] if args.noise_aware else {}
    tensor = RewardTensor(
        base=spread(base),
        noise_aware=spread(parts["noise_aware"]) if args.noise_aware else None,
        accepted=spread(parts["accepted"]).astype(np.uint8) if args.accepted else None,
        prompts=base.prompts,
        attrs={
            **images,
            "reward": base.attributes["reward"],
            "reward_version": base.attributes["version"],
            "levels": sorted(int(level) for level in levels),
            "level_versions": ",".join(f"{level}:{version}" for level, version in levels.items()),
            "reward_tflop": reward,
            **({"look_tflop": images["decode_tflop"] + reward} if "decode_tflop" in images else {}),
        },
    )
    write_tensor(args.out, tensor)
    return {"shape": list(tensor.base.shape), **tensor.attrs}
