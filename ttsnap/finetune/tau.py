"""Kendall's τ, by which finetuning judges its weights; apart from `alignment`, which imports more modules."""

import numpy as np


def kendall_tau(predicted: np.ndarray, final: np.ndarray) -> np.ndarray:
    """float [P]: Kendall's τ-b of rewards [P, C] within each prompt; NaN where one is constant."""
    first, second = np.triu_indices(predicted.shape[1], 1)
    taus = np.full(len(predicted), np.nan)
    for prompt, (x, y) in enumerate(zip(predicted, final, strict=True)):
        order_x, order_y = np.sign(x[first] - x[second]), np.sign(y[first] - y[second])
        untied = np.count_nonzero(order_x) * np.count_nonzero(order_y)
        if untied:
            taus[prompt] = (order_x @ order_y) / np.sqrt(untied)
    return taus
