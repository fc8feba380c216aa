"""Noise-aware finetuning of one level: start from the previous level, keep what ranks unseen prompts better."""

import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ttsnap.errors import BadInput
from ttsnap.finetune.tau import kendall_tau
from ttsnap.finetune.train import predict_together, train_level
from ttsnap.pruning.schedule import Look
from ttsnap.rewards.base import Reward
from ttsnap.rewards.groups import Groups
from ttsnap.rewards.levels import load_level, make_trainable
from ttsnap.storage.code_digest import code
from ttsnap.storage.labelled import Labelled
from ttsnap.storage.provenance import check_same
from ttsnap.training.processes import ALONE, Processes


@dataclass(frozen=True)
class Finetuned:
    """The outcome of a level.

    weights  by name: the trained ones, or those it started from
    figures  level, the level whose weights it started from (`start`; None: base), which weights were `kept`,
             Kendall's τ of both on the validation prompts, `version`
    about    the checkpoint's metadata: the figures and what it was made from
    loss     of every optimiser step
    """

    weights: dict[str, torch.Tensor]
    figures: dict
    about: dict
    loss: list[float]


def finetune_level(
    reward: Reward,
    level: Look,
    train: Labelled,
    validation: Labelled,
    settings: dict,
    *,
    start: str | Path | None = None,
    seed: int = 0,
    state: Path | None = None,
    processes: Processes = ALONE,
) -> Finetuned:
    """Finetune `reward`, in place, to predict from the images of one level the base reward of the final images.

    settings: the keys of `settings.finetune.FinetuneLevel`. start: checkpoint of the previous level; None: the base
    weights. seed: of the order of the images and of new adapters. state: where progress is saved (see `train_level`).
    The trained weights are kept if their mean Kendall's τ within the validation prompts is higher than before.

    Raises BadInput for labels of another reward, and for a start with other LoRA settings.
    """
    check_same(train.file, train.attributes["made_from"], "this reward", reward.made_from, "run label again")
    torch.manual_seed(seed)
    started = load_level(reward, start) if start else {"level": None, "lora": settings["lora"]}
    if started["lora"] != settings["lora"]:
        raise BadInput(f"--start: {start} has other LoRA settings; finetune all levels alike")
    parameters = make_trainable(reward, settings["lora"])
    before = {name: value.detach().clone() for name, value in parameters.items()}
    tau_before = _mean_tau(reward, validation, processes)
    loss = train_level(
        reward,
        parameters,
        _groups(train),
        settings,
        seed=seed * 1000 + (zlib.crc32(level.encode()) % 2**31 if isinstance(level, str) else level),
        state=state,
        name=f"level {level}",
        processes=processes,
        about=[train.attributes, code("ttsnap.finetune.level", type(reward).__module__)],
    )
    tau_trained = _mean_tau(reward, validation, processes)
    kept, weights = ("trained", parameters) if tau_trained > tau_before else ("start", before)
    figures = {
        "level": level,
        "start": started["level"],
        "kept": kept,
        "validation_tau_start": tau_before,
        "validation_tau_trained": tau_trained,
        "version": weights_version(weights),
    }
    made_from = {"lora": settings["lora"], "reward": reward.made_from, "images": train.attributes["images"]}
    return Finetuned(weights, figures, figures | made_from, loss)


def _groups(data: Labelled) -> Groups:
    return Groups(data.prompts, data.images, data.labels)


def _mean_tau(reward: Reward, data: Labelled, processes: Processes) -> float:
    """Kendall's τ-b within each prompt, averaged; 0 for a prompt whose rewards are constant."""
    predicted = predict_together(reward, _groups(data), next(reward.parameters()).device, processes)
    return float(np.nan_to_num(kendall_tau(predicted, data.labels)).mean())


def weights_version(weights: dict[str, torch.Tensor]) -> str:
    """What tells the weights of a level from others."""
    digest = hashlib.sha256()
    for value in weights.values():
        digest.update(value.detach().cpu().numpy().tobytes())
    return digest.hexdigest()[:12]
