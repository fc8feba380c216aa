"""`ttsnap finetune`: one level of noise-aware finetuning, from the weights of the level before (DESIGN §3)."""

import argparse
import functools
from pathlib import Path

from ttsnap.commands.device_options import add_device, pick_device
from ttsnap.commands.options import in_file, natural, out_file, seed
from ttsnap.commands.reward_options import add_reward, check_reward, open_reward
from ttsnap.commands.settings_options import add_settings, take_settings
from ttsnap.errors import BadInput
from ttsnap.settings.finetune import Finetune
from ttsnap.storage.prompts import overlap

KEPT = 512  # prompts whose pictures stay in memory; others are read again every epoch


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--level", type=natural, required=True, help="step whose Tweedie images are learned"
    )
    parser.add_argument(
        "--start",
        type=in_file,
        help="checkpoint of the level before; the base weights if not given",
    )
    for part in ("train", "validation"):
        parser.add_argument(
            f"--{part}-images", type=in_file, nargs="+", required=True, help="image shards (HDF5)"
        )
        parser.add_argument(
            f"--{part}-labels", type=in_file, nargs="+", required=True, help="their label files"
        )
    parser.add_argument("--out", type=out_file, required=True, help="checkpoint (safetensors)")
    parser.add_argument("--state", help="where to keep progress, so that a killed run goes on")
    add_reward(parser)
    add_settings(parser, Finetune)
    parser.add_argument("--seed", type=seed, default=0, help="order of the images")
    add_device(parser)


def run(args: argparse.Namespace) -> dict:
    """Train, judge on the validation prompts, keep the better of start and result; return the figures."""
    settings = Finetune(**take_settings(args, Finetune)).at(args.level)
    check_reward(args)
    _check_shards(args)
    import hashlib

    import numpy as np
    import torch

    from ttsnap.finetune.tau import kendall_tau
    from ttsnap.finetune.train import predict_together as predict
    from ttsnap.finetune.train import train_level
    from ttsnap.rewards.levels import load_level, make_trainable, save_level
    from ttsnap.storage.provenance import check_same
    from ttsnap.training.processes import join

    processes, device = join(pick_device(args))
    train, labels = _groups(args.train_images, args.train_labels, args.level)
    validation, held_out = _groups(args.validation_images, args.validation_labels, args.level)
    check_same(
        args.validation_labels[0], held_out, args.train_labels[0], labels, "generate and label both alike",
        only=("made_from", "images"), apart_from=("images.seed",),
    )  # fmt: skip
    if same := overlap(train.prompts, validation.prompts):
        raise BadInput(
            f"--validation-images: {same[1][:60]!r} is also trained on, as {same[0][:60]!r}; hold it out"
        )
    reward = open_reward(args, device)
    check_same(
        args.train_labels[0],
        labels["made_from"],
        "this reward",
        reward.made_from,
        "run label again",
    )
    torch.manual_seed(args.seed)
    if args.start and load_level(reward, args.start)["lora"] != settings["lora"]:
        raise BadInput(f"--start: {args.start} has other LoRA settings; finetune all levels alike")
    parameters = make_trainable(reward, settings["lora"])
    start = {name: value.detach().clone() for name, value in parameters.items()}

    def tau() -> float:
        taus = kendall_tau(predict(reward, validation, device, processes), validation.targets)
        return float(
            np.nan_to_num(taus).mean()
        )  # a reward that is constant in a prompt ranks nothing

    tau_start = tau()
    history = train_level(
        reward,
        parameters,
        train,
        settings,
        seed=args.seed * 1000 + args.level,
        state=Path(args.state) if args.state else None,
        name=f"level {args.level}",
        processes=processes,
        about=_about(args, labels),
    )
    tau_trained = tau()
    kept = "trained" if tau_trained > tau_start else "start"
    chosen = parameters if kept == "trained" else start
    digest = hashlib.sha256()
    for value in chosen.values():
        digest.update(value.detach().cpu().numpy().tobytes())
    figures = {
        "level": args.level,
        "kept": kept,
        "validation_tau_start": tau_start,
        "validation_tau_trained": tau_trained,
    }
    figures["version"] = digest.hexdigest()[:12]
    about = {"lora": settings["lora"], "reward": reward.made_from, "images": labels["images"]}
    if processes.first:
        save_level(args.out, chosen, figures | about)
    if args.state and processes.first:
        Path(args.state).unlink(missing_ok=True)
    return {**figures, "reward": args.kind, "images": int(train.targets.size), "loss": history}


def _about(args: argparse.Namespace, labels: dict) -> list:
    """What a saved state depends on besides weights, targets and settings: the images, the reward, code."""
    from ttsnap.rewards.registry import reward_module
    from ttsnap.storage.code_digest import code

    return [labels, code("ttsnap.commands.finetune", reward_module(args.kind))]


def _check_shards(args: argparse.Namespace) -> None:
    """Refuse, before anything slow is imported, shards that cannot be opened or have no images of the level."""
    from ttsnap.storage.image_shards import read_shard
    from ttsnap.storage.scores import read_scores

    for path in (*args.train_images, *args.validation_images):
        if args.level not in (steps := read_shard(path).steps):
            raise BadInput(f"--level: {args.level}, but {path} holds images of steps {steps} only")
    for path in (*args.train_labels, *args.validation_labels):
        read_scores(path)


def _groups(images: list[str], labels: list[str], level: int):
    """The images of one step of several shards, read as they are needed, with their labels; the labels' attributes."""
    import numpy as np

    from ttsnap.rewards.groups import Groups
    from ttsnap.storage.image_shards import read_shards
    from ttsnap.storage.scores import check_images, join_scores

    if len(images) != len(labels):
        raise BadInput(
            f"{len(images)} image shards and {len(labels)} label files; give one for each"
        )
    shards, joined = read_shards(images), join_scores(labels, "base")
    where = [(shard, p) for shard in shards for p in range(len(shard.prompts))]
    prompts, digests = [s.prompts[p] for s, p in where], [s.digests[p] for s, p in where]
    check_images(labels[0], joined, images[0], shards[0].attributes, prompts, digests)
    last = shards[0].attributes.get("steps", joined.steps[-1] + 1) - 1
    if joined.steps[-1] != last:
        raise BadInput(f"{labels[0]}: holds no rewards of the final step {last}; run label")
    groups = Groups(
        joined.prompts,
        functools.lru_cache(maxsize=KEPT)(lambda p: where[p][0].images(level, where[p][1])),
        np.ascontiguousarray(joined.values[:, :, -1]),
    )
    return groups, joined.attributes | {"digests": joined.digests}
