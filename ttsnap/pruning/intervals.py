"""Areas over budgets, gains (TTSnap, arXiv 2511.22242) and percentile bootstrap intervals."""

import numpy as np

RESAMPLES = 1000
TAIL = 50 * (1 - 0.95)  # per cent on either side of a 95 % interval


def simpson_weights(x: np.ndarray) -> np.ndarray:
    """Weights w such that w @ y is Simpson's area of y over the points x (any spacing).

    For an even number of points the last interval takes Cartwright's correction, as in `scipy.integrate.simpson`.
    Two points give the trapezoid rule, fewer the area 0.
    """
    x = np.asarray(x, float)
    weights, gaps = np.zeros(len(x)), np.diff(x)
    if len(x) == 2:
        return np.full(2, gaps[0] / 2)
    for i in range(0, len(x) - 2, 2):
        a, b = gaps[i : i + 2]
        weights[i : i + 3] += (a + b) / 6 * np.array([2 - b / a, (a + b) ** 2 / (a * b), 2 - a / b])
    if len(x) > 2 and len(x) % 2 == 0:
        a, b = gaps[-2:]
        weights[-3] -= b**3 / (6 * a * (a + b))
        weights[-2] += (b**2 + 3 * a * b) / (6 * a)
        weights[-1] += (2 * b**2 + 3 * a * b) / (6 * (a + b))
    return weights


def gain(method: np.ndarray, best_of_n: np.ndarray, budgets: np.ndarray) -> np.ndarray:
    """Ω = (A_method − A_bon)/A_bon of mean rewards [..., budgets]; NaN where A_bon is not positive.

    A is the area of (reward − best-of-N's reward at the smallest budget), as in `evaluate` of TTSnap's code.
    """
    weights = simpson_weights(budgets)
    start = best_of_n[..., :1]
    area, area_bon = (method - start) @ weights, (best_of_n - start) @ weights
    rises = area_bon > 1e-9 * np.abs(weights).sum()
    return np.where(rises, (area - area_bon) / np.where(rises, area_bon, 1.0), np.nan)


def resampling(rng: np.random.Generator, count: int) -> np.ndarray:
    """float [RESAMPLES, count]: each row holds the weights of a bootstrap sample of `count` items."""
    picks = rng.integers(count, size=(RESAMPLES, count))
    picks += count * np.arange(RESAMPLES)[:, None]
    return np.bincount(picks.ravel(), minlength=RESAMPLES * count).reshape(RESAMPLES, -1) / count


def interval(replicates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 95 % percentile interval over the first axis, (low, high); NaN if any replicate is NaN."""
    low, high = np.percentile(replicates, [TAIL, 100 - TAIL], axis=0)
    return low, high


def mean_with_interval(values: np.ndarray, seed: int = 0) -> dict:
    """{"value", "low", "high"}: the mean of the finite values among [P], None if there are none, and its interval.

    The same seed gives equal numbers of values the same resamples, so that differences are paired. With fewer than two
    values low and high are None.
    """
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return {"value": float(values[0]) if len(values) else None, "low": None, "high": None}
    low, high = interval(resampling(np.random.default_rng([seed, 6]), len(values)) @ values)
    return {"value": float(values.mean()), "low": float(low), "high": float(high)}
