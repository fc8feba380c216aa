"""Monte Carlo over draws of candidates: reward against budget for each method (TTSnap, arXiv 2511.22242).

`simulate` gives the curves; `ttsnap.simulate.summary.summarise` adds intervals and gains.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ttsnap.errors import BadInput
from ttsnap.pruning.costs import Costs
from ttsnap.pruning.schedule import Schedule
from ttsnap.simulate.methods import METHODS, Choose, Method, Unread, noise_aware_looks, ttsp
from ttsnap.storage.tensor import REWARDS, RewardTensor, check_tensors, names

BLOCK = 4_000_000  # candidates drawn at a time: bounds the memory


@dataclass
class Curve:
    """One method over B budgets; NaN where it cannot be simulated.

    candidates  int [B], how many start
    spent       float [B], what they cost, each look keeping a whole number of them
    by_prompt   {name: float [B, P]}, the mean over draws of each reward by its name, and `accepted`
    by_draw     {name: float [B, D]}, the mean over prompts
    unread      why there is no value at all, where a step of the schedule has nothing for the method
    """

    schedule: Schedule
    candidates: np.ndarray
    spent: np.ndarray
    by_prompt: dict[str, np.ndarray]
    by_draw: dict[str, np.ndarray]
    unread: str = ""


def simulate(
    tensors: Sequence[RewardTensor],
    budgets: np.ndarray,
    costs: Costs,
    schedule: Schedule,
    *,
    schedules: Mapping[str, Schedule] | None = None,
    methods: Mapping[str, Method] = METHODS,
    draws: int = 50,
    seed: int = 0,
) -> dict[str, Curve]:
    """Best-of-N and each of `methods` at each budget, every method on the same draws.

    `schedules` gives some methods another schedule than `schedule`; budgets [B] and `costs` are in the same unit.
    A method that cannot read a step (TTSp, where there are noise-aware rewards alone) has a curve
    without values that says so. Raises `BadInput` for a schedule that does not suit the tensors, a
    step at which they have no reward of any kind, and budgets that pay for nothing.
    """
    check_tensors(tensors)
    if draws < 1:
        raise BadInput(f"draws: {draws} is not a number of draws; give 1 or more")
    by_method = {name: (schedules or {}).get(name, schedule) for name in methods}
    for name, schedule in by_method.items():
        schedule.check(costs.num_steps, f"schedule of {name}")
        for tensor in tensors:
            noise_aware_looks(tensor, schedule.looks)  # raises where there is nothing to read
    affordable = costs.within(budgets)
    if not affordable.any():
        raise BadInput(
            f"budgets: the largest, {max(budgets):g}, is under the cost of one finished candidate, "
            f"{costs.best_of_n():g}; raise --budgets or check --denoise-cost and --look-cost"
        )
    curves = {"best_of_n": _best_of_n_curve(tensors, affordable, costs, draws, seed)}
    for name, method in methods.items():
        schedule = by_method[name]
        if not schedule.looks and method is METHODS.get(name):
            curves[name] = curves["best_of_n"]  # drops nobody: best-of-N, and exactly so
            continue
        counts = costs.within(budgets, schedule)
        unread = ""
        try:
            values = run_method(tensors, method, schedule, counts, draws, seed)
        except Unread as error:
            unread = str(error)
            values = run_method(tensors, ttsp, Schedule(), 0 * counts, draws, seed)
        curves[name] = Curve(schedule, counts, costs.spent(counts, schedule), *values, unread)
    return curves


def _best_of_n_curve(tensors, candidates, costs, draws, seed) -> Curve:
    """Exact for one reward; the best rank sum of several has no closed form and is drawn."""
    spent = candidates * costs.best_of_n()
    if len(tensors) == 1:
        by_prompt = best_of_n(tensors[0], candidates)
        by_draw = {name: np.repeat(values.mean(1)[:, None], draws, 1) for name, values in by_prompt.items()}
        return Curve(Schedule(), candidates, spent, by_prompt, by_draw)
    values = run_method(tensors, ttsp, Schedule(), candidates, draws, seed)
    return Curve(Schedule(), candidates, spent, *values)


def draw_candidates(rng: np.random.Generator, prompts: int, pool: int, draws: int, most: int) -> np.ndarray:
    """int32 [prompts, draws, most]: candidates without replacement, in random order.

    One shuffle per draw, renamed by one shuffle per prompt: the sets of any two (prompt, draw) are
    independent, at P + D shuffles rather than P·D.
    """
    ids = np.arange(pool, dtype=np.int32)
    names = rng.permuted(np.tile(ids, (prompts, 1)), axis=1)
    order = rng.permuted(np.tile(ids, (draws, 1)), axis=1)
    return names.take(order[:, :most], axis=1)


def _finals(tensors: Sequence[RewardTensor]) -> dict[str, np.ndarray]:
    """What is reported of a chosen image: float [P, C] of each reward, and the checker's verdict."""
    finals = {name: tensor.base[:, :, -1].astype(float) for name, tensor in zip(names(tensors), tensors, strict=True)}
    verdicts = [tensor.accepted for tensor in tensors if tensor.accepted is not None]
    return finals | ({"accepted": verdicts[0][:, :, -1].astype(float)} if verdicts else {})


def best_of_n(tensor: RewardTensor, candidates: np.ndarray) -> dict[str, np.ndarray]:
    """The exact mean of best-of-n: {reward name: [B, P], "accepted": [B, P]}.

    The max@k estimator of Walder and Karkhanis (arXiv 2505.15201): the mean over all subsets of n candidates.
    `candidates` int [B]; NaN where n is 0 or beyond the pool.
    """
    pool = tensor.base.shape[1]
    order = np.argsort(-tensor.base[:, :, -1], axis=1, kind="stable")
    weights = np.stack([_chance_of_rank(pool, n) for n in candidates])
    values = _finals([tensor])
    return {k: weights @ np.take_along_axis(v, order, axis=1).T for k, v in values.items()}


def _chance_of_rank(pool: int, n: int) -> np.ndarray:
    """float [pool]: the chance that the r-th best of the pool is the best of n drawn.

    C(pool−1−r, n−1)/C(pool, n), by its recurrence in r.
    """
    if not 1 <= n <= pool:
        return np.full(pool, np.nan)
    r = np.arange(pool - 1)
    steps = np.clip(pool - n - r, 0, None) / (pool - 1 - r)
    return np.concatenate([[1.0], np.cumprod(steps)]) * n / pool


def run_method(
    tensors: Sequence[RewardTensor], method: Method, schedule: Schedule, candidates: np.ndarray, draws: int, seed: int
) -> tuple[dict, dict]:
    """The mean over what a method returns: by prompt {name: [B, P]} and by draw {name: [B, D]}.

    `candidates` int [B]. Raises `Unread` for a step at which the tensors have nothing to read.
    """
    prompts, pool = tensors[0].base.shape[:2]
    finals = _finals(tensors)
    rng = np.random.default_rng([seed, 0])
    choose = _choice(method, tensors, schedule, np.random.default_rng([seed, 1]))
    possible = (candidates >= 1) & (candidates <= pool)
    counts = np.unique(candidates[possible])
    by_prompt = {name: np.full((len(candidates), prompts), np.nan) for name in finals}
    by_draw = {name: np.full((len(candidates), draws), np.nan) for name in finals}
    if not len(counts):
        return by_prompt, by_draw
    place = np.searchsorted(counts, candidates[possible])
    sums = {name: np.zeros((len(counts), prompts)) for name in finals}
    row = np.arange(0, prompts * pool, pool)[:, None]
    block = max(1, BLOCK // (prompts * int(counts[-1])))
    for start in range(0, draws, block):
        size = min(block, draws - start)
        chosen = choose(draw_candidates(rng, prompts, pool, size, int(counts[-1])), counts)
        chosen = _checked(chosen, (len(counts), prompts, size), pool, method) + row
        for name, final in finals.items():
            values = final.take(chosen)
            sums[name] += values.sum(2)
            by_draw[name][possible, start : start + size] = values.mean(1)[place]
    for name in finals:
        by_prompt[name][possible] = sums[name][place] / draws
    return by_prompt, by_draw


def _choice(method: Method, tensors, schedule, rng) -> Choose:
    """The method's `choose`, which cannot change what other methods see of the tensors."""
    shared = [replace(t, prompts=list(t.prompts), attrs=dict(t.attrs)) for t in tensors]
    for tensor in shared:
        for name in (*REWARDS, "accepted"):
            if (values := getattr(tensor, name)) is not None:
                view = values.view()
                view.flags.writeable = False
                setattr(tensor, name, view)

    def watched(function: Callable, *arguments):
        try:
            return function(*arguments)
        except ValueError as error:
            if "read-only" not in str(error):
                raise
            name = getattr(method, "__name__", str(method))
            raise BadInput(f"method {name}: changes the tensors it is given; work on copies") from None

    choose = watched(method, shared, schedule, rng)
    return lambda drawn, counts: watched(choose, drawn, counts)


def _checked(chosen: object, shape: tuple, pool: int, method: Method) -> np.ndarray:
    """What a method chose. Raises `BadInput` unless it is what `ttsnap.simulate.methods` asks of a method."""
    chosen, name = np.asarray(chosen), getattr(method, "__name__", str(method))
    if chosen.shape != shape or chosen.dtype.kind not in "iu":
        raise BadInput(
            f"method {name}: it chose {chosen.dtype} {list(chosen.shape)}; it must choose whole numbers "
            f"{list(shape)}, one for each count, prompt and draw"
        )
    if chosen.min() < 0 or chosen.max() >= pool:
        raise BadInput(
            f"method {name}: it chose candidate {chosen.min() if chosen.min() < 0 else chosen.max()}, "
            f"which is none of 0..{pool - 1}; it must choose among those drawn"
        )
    return chosen
