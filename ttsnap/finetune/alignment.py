"""How well a reward of half-denoised images and drafts agrees with that of the final ones (arXiv 2511.22242).

Metrics are computed within each prompt and then averaged over prompts; intervals are 95 % percentile bootstraps over
prompts. NumPy only.
"""

import numpy as np

from ttsnap.errors import BadInput
from ttsnap.finetune.tau import kendall_tau
from ttsnap.pruning.costs import Costs
from ttsnap.pruning.intervals import mean_with_interval
from ttsnap.pruning.ranks import ranks
from ttsnap.pruning.schedule import Look
from ttsnap.storage.costs import costs_of
from ttsnap.storage.tensor import RewardTensor, sources

CUTS = np.arange(1, 20) / 20  # α = 0.05 … 0.95
QUARTER = np.array([0.25])
ALIGNMENT_METRICS = ("tau", "tacc", "tacc_quarter", "tgap", "mse")


def top_cuts(predicted: np.ndarray, final: np.ndarray, cuts: np.ndarray = CUTS) -> tuple[np.ndarray, np.ndarray]:
    """Tacc and Tgap [P] of rewards [P, C]: means over top-α cuts that keep max(1, round(C·α)).

    Tacc: how often an image as good as the best survives the cut; Tgap: the final reward that the cut loses.
    """
    order = np.argsort(ranks(predicted), axis=1)
    best_so_far = np.maximum.accumulate(np.take_along_axis(final, order, axis=1), axis=1)
    counts = np.maximum(1, np.rint(predicted.shape[1] * cuts).astype(int))
    lost = final.max(1, keepdims=True) - best_so_far[:, counts - 1]
    return (lost == 0).mean(1), lost.mean(1)


def alignment(predicted: np.ndarray, final: np.ndarray) -> dict[str, np.ndarray]:
    """{"tau", "tacc", "tacc_quarter", "tgap", "mse"}: float [P] each, of rewards [P, C] of one look and of the last.

    tacc_quarter: Tacc of the cut that keeps a quarter.
    """
    predicted, final = np.asarray(predicted, np.float32), np.asarray(final, np.float32)
    tacc, tgap = top_cuts(predicted, final)
    quarter, _ = top_cuts(predicted, final, QUARTER)
    mse = np.square(predicted.astype(float) - final).mean(1)
    return {"tau": kendall_tau(predicted, final), "tacc": tacc, "tacc_quarter": quarter, "tgap": tgap, "mse": mse}


def align(tensor: RewardTensor, seed: int = 0) -> dict:
    """The result of `ttsnap align`: {"steps": [{"step", "base", "noise_aware", "tau_difference", "tflop"}], …}.

    "drafts" holds the same of each draft, with "draft" in place of "step". `base` and `noise_aware` hold each of
    ALIGNMENT_METRICS as {"value", "low", "high"}, None at a look without that reward; `tau_difference` is the paired
    noise_aware − base, None without both. Tgap is in the reward's reporting units, MSE in their square. `tflop`: the
    compute of a candidate up to and with this look; "full_tflop": of a full run; None where the tensor has no costs.
    """
    prompts, candidates, _ = tensor.base.shape
    try:
        costs = costs_of([tensor])
    except BadInput:  # imported values may have none
        costs = None
    read = {*tensor.read, *tensor.levels}
    rows = [_row(tensor, look, costs, seed) for look in tensor.looks if look in read]
    return {
        "reward": tensor.attrs.get("reward"),
        "unit": tensor.units.label,
        "made_from": sources([tensor]),
        "level_versions": tensor.attrs.get("level_versions", ""),
        "prompts": prompts,
        "candidates": candidates,
        "levels": tensor.levels,
        "full_tflop": costs.best_of_n() if costs else None,
        "drafts": [row for row in rows if "draft" in row],
        "steps": [row for row in rows if "step" in row],
    }


def _row(tensor: RewardTensor, look: Look, costs: Costs | None, seed: int) -> dict:
    """The figures of one look."""
    final, scale = tensor.base[:, :, -1], tensor.units.scale
    factors = {"tgap": scale, "mse": scale**2}
    last = look == tensor.looks[-1]
    tflop = None if costs is None else costs.best_of_n() if last else costs.look_at(look)
    row = {"draft" if isinstance(look, str) else "step": look, "base": None, "noise_aware": None}
    row |= {"tau_difference": None, "tflop": tflop}
    (place,), taus = tensor.places([look]), []
    for kind, looks in (("base", tensor.read), ("noise_aware", tensor.levels)):
        if look in looks:
            metrics = alignment(getattr(tensor, kind)[:, :, place], final)
            row[kind] = {
                name: mean_with_interval(metrics[name] * factors.get(name, 1), seed) for name in ALIGNMENT_METRICS
            }
            taus.append(metrics["tau"])
    if len(taus) == 2:
        row["tau_difference"] = mean_with_interval(taus[1] - taus[0], seed)
    return row
