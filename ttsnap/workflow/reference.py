"""The reward tensors of a larger run that figures are made from, where the config names them."""

from pathlib import Path

from ttsnap.errors import BadInput
from ttsnap.models import model_version, resolve
from ttsnap.pruning.schedule import look_names
from ttsnap.rewards.registry import identity
from ttsnap.settings.config import Config
from ttsnap.storage.provenance import check_same
from ttsnap.storage.tensor import RewardTensor, read_tensor
from ttsnap.workflow.checks import named_file

SPLITS = ("validation", "test")


def reference_tensors(config: Config) -> dict[tuple[str, str], tuple[Path, RewardTensor]]:
    """(split, reward) → the file of the reference tensor and what it holds; {} where the config names none.

    Raises BadInput, naming the key, for a file that is missing, or of another model, sampling or reward than the
    config's.
    """
    if config.reference is None:
        return {}
    found = {}
    for split in SPLITS:
        pattern, key = getattr(config.reference, split), f"reference.{split}"
        for name in config.rewards:
            remedy = f"name the tensors of rewards {', '.join(config.rewards)}, or set reference: null"
            path = named_file(pattern.replace("{reward}", name), key, remedy)
            tensor = read_tensor(path)
            _check(config, name, tensor, f"{key}: {path}")
            found[split, name] = path, tensor
    return found


def _check(config: Config, name: str, tensor: RewardTensor, where: str) -> None:
    remedy = "name tensors of this model and reward, or set reference: null"
    if tensor.reward != name:
        raise BadInput(f"{where}: holds values of reward {tensor.reward}, not {name}; {remedy}")
    asked = {key: getattr(config.model, key) for key in ("steps", "guidance", "height", "width")}
    reward = config.rewards[name]
    asked |= {
        "model_version": model_version(resolve(config.model.path)),
        "reward_made_from": {"kind": reward.kind, "options": identity(reward.kind, reward.options, times=False)},
        "drafts": {draft: {"steps": about.steps} for draft, about in config.drafts.items()},
    }
    check_same(where, tensor.attrs, "the config", asked, remedy, known=True)
    if {*tensor.levels} != {*config.levels}:
        theirs, ours = (look_names(levels) or "no look" for levels in (tensor.levels, config.levels))
        raise BadInput(
            f"{where}: has noise-aware rewards at {theirs}, the config's levels are {ours}; write the same levels, or"
            " set reference: null"
        )
    if tensor.accepted is not None and not config.checker:
        raise BadInput(
            f"{where}: holds verdicts of a checker, and the config has none; its figures would be of those prompts,"
            " not of yours: set reference: null"
        )
    if missing := [draft for draft in tensor.drafts if draft not in config.drafts]:
        raise BadInput(f"{where}: has draft {missing[0]}, which the config does not; {remedy}")
