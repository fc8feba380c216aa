"""How well a reward of half-denoised images agrees with that of the final ones (TTSnap, arXiv 2511.22242).

Metrics are computed within each prompt and then averaged over prompts; intervals are 95 % percentile bootstraps over
prompts. NumPy only.
"""

import numpy as np

from ttsnap.finetune.tau import kendall_tau
from ttsnap.pruning.intervals import mean_with_interval
from ttsnap.pruning.ranks import ranks
from ttsnap.storage.tensor import RewardTensor, sources

CUTS = np.arange(1, 20) / 20  # α = 0.05 … 0.95
ALIGNMENT_METRICS = ("tau", "tacc", "tgap", "mse")


def top_cuts(predicted: np.ndarray, final: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tacc and Tgap [P] of rewards [P, C]: means over top-α cuts that keep max(1, round(C·α)).

    Tacc: how often an image as good as the best survives the cut; Tgap: the final reward that the cut loses.
    """
    order = np.argsort(ranks(predicted), axis=1)
    best_so_far = np.maximum.accumulate(np.take_along_axis(final, order, axis=1), axis=1)
    counts = np.maximum(1, np.rint(predicted.shape[1] * CUTS).astype(int))
    lost = final.max(1, keepdims=True) - best_so_far[:, counts - 1]
    return (lost == 0).mean(1), lost.mean(1)


def alignment(predicted: np.ndarray, final: np.ndarray) -> dict[str, np.ndarray]:
    """{"tau", "tacc", "tgap", "mse"}: float [P] each, of rewards [P, C] of one step and of the last."""
    predicted, final = np.asarray(predicted, np.float32), np.asarray(final, np.float32)
    tacc, tgap = top_cuts(predicted, final)
    mse = np.square(predicted.astype(float) - final).mean(1)
    return {"tau": kendall_tau(predicted, final), "tacc": tacc, "tgap": tgap, "mse": mse}


def align(tensor: RewardTensor, seed: int = 0) -> dict:
    """The result of `ttsnap align`: {"steps": [{"step", "base", "noise_aware", "tau_difference"}]}.

    `base` and `noise_aware` hold each of ALIGNMENT_METRICS as {"value", "low", "high"}, None at a step without that
    reward; `tau_difference` is the paired noise_aware − base, None without both. Tgap is in the reward's reporting
    units, MSE in their square.
    """
    final, rows, scale = tensor.base[:, :, -1], [], tensor.units.scale
    factors = {"tau": 1, "tacc": 1, "tgap": scale, "mse": scale**2}
    for step in sorted(set(tensor.base_steps) | set(tensor.levels)):
        row, taus = {"step": step, "base": None, "noise_aware": None, "tau_difference": None}, []
        for kind, steps in (("base", tensor.base_steps), ("noise_aware", tensor.levels)):
            if step in steps:
                metrics = alignment(getattr(tensor, kind)[:, :, step], final)
                row[kind] = {
                    name: mean_with_interval(metrics[name] * factors[name], seed) for name in ALIGNMENT_METRICS
                }
                taus.append(metrics["tau"])
        if len(taus) == 2:
            row["tau_difference"] = mean_with_interval(taus[1] - taus[0], seed)
        rows.append(row)
    prompts, candidates, _ = tensor.base.shape
    return {
        "reward": tensor.attrs.get("reward"),
        "unit": tensor.units.label,
        "made_from": sources([tensor]),
        "level_versions": tensor.attrs.get("level_versions", ""),
        "prompts": prompts,
        "candidates": candidates,
        "levels": tensor.levels,
        "steps": rows,
    }
