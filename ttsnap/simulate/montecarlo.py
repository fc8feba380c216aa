"""Monte Carlo over draws of candidates: reward against budget for each method (TTSnap, arXiv 2511.22242).

`simulate` returns the curves; `ttsnap.simulate.summary.summarise` adds intervals and gains.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ttsnap.errors import BadInput
from ttsnap.pruning.costs import Costs
from ttsnap.pruning.schedule import BEST_OF_N, Schedule
from ttsnap.simulate.methods import METHODS, Choose, Method, Unread, noise_aware_looks, ttsp
from ttsnap.storage.tensor import REWARDS, RewardTensor, check_tensors, names

DRAWN_AT_ONCE = 4_000_000  # candidates; bounds the memory


@dataclass
class Curve:
    """One method over B budgets; NaN where it cannot be simulated.

    candidates  int [B], how many start
    spent       float [B], their cost, each look keeping a whole number of them
    by_prompt   {name: float [B, P]}, the mean over draws of each reward, and of `accepted`
    by_draw     {name: float [B, D]}, the mean over prompts
    unread      why no value exists, if the method can read nothing at a step of the schedule
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

    schedules: those of methods that do not follow `schedule`. Budgets [B] and costs have the same unit. A method that
    cannot read a look (TTSp, where only noise-aware rewards exist) has a curve without values that says so. Raises
    BadInput for a schedule that does not fit the tensors, a look without any reward, and budgets that pay for nothing.
    """
    check_tensors(tensors)
    if draws < 1:
        raise BadInput(f"draws: {draws} is not a number of draws; give 1 or more")
    by_method = {name: (schedules or {}).get(name, schedule) for name in methods}
    for name, schedule in by_method.items():
        schedule.check(costs.num_steps, f"schedule of {name}", tensors[0].drafts)
        for tensor in tensors:
            noise_aware_looks(tensor, schedule.looks)  # raises for a look without any reward
    affordable = costs.within(budgets)
    if not affordable.any():
        raise BadInput(
            f"budgets: the largest, {max(budgets):g}, is under the cost of one finished candidate, "
            f"{costs.best_of_n():g}; raise --budgets or check --denoise-cost and --look-cost"
        )
    curves = {"best_of_n": _best_of_n_curve(tensors, affordable, costs, draws, seed)}
    for name, method in methods.items():
        schedule = by_method[name]
        if not schedule.looks and method in METHODS.values():
            curves[name] = curves["best_of_n"]  # drops nothing
            continue
        counts = costs.within(budgets, schedule)
        unread = ""
        try:
            values = run_method(tensors, method, schedule, counts, draws, seed)
        except Unread as error:
            unread = str(error)
            values = run_method(tensors, ttsp, BEST_OF_N, 0 * counts, draws, seed)  # all NaN
        curves[name] = Curve(schedule, counts, costs.spent(counts, schedule), *values, unread)
    return curves


def _best_of_n_curve(tensors, candidates, costs, draws, seed) -> Curve:
    """Exact for one reward; drawn for the rank sum of several, which has no closed form."""
    if len(tensors) == 1:
        by_prompt = best_of_n(tensors[0], candidates)
        by_draw = {name: np.repeat(values.mean(1)[:, None], draws, 1) for name, values in by_prompt.items()}
    else:
        by_prompt, by_draw = run_method(tensors, ttsp, BEST_OF_N, candidates, draws, seed)
    return Curve(BEST_OF_N, candidates, candidates * costs.best_of_n(), by_prompt, by_draw)


def draw_candidates(rng: np.random.Generator, prompts: int, pool: int, draws: int, most: int) -> np.ndarray:
    """int32 [prompts, draws, most]: candidates without replacement, in random order.

    One shuffle per draw, renamed by one shuffle per prompt: the sets of any two (prompt, draw) pairs are independent,
    with P + D shuffles instead of P·D.
    """
    ids = np.arange(pool, dtype=np.int32)
    names = rng.permuted(np.tile(ids, (prompts, 1)), axis=1)
    order = rng.permuted(np.tile(ids, (draws, 1)), axis=1)
    return names.take(order[:, :most], axis=1)


def _finals(tensors: Sequence[RewardTensor]) -> dict[str, np.ndarray]:
    """The reported values of a chosen image, float [P, C]: each reward and the checker's verdict."""
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
    """float [pool]: the chance that the r-th best of the pool is the best of n drawn, C(pool−1−r, n−1)/C(pool, n)."""
    if not 1 <= n <= pool:
        return np.full(pool, np.nan)
    r = np.arange(pool - 1)
    steps = np.clip(pool - n - r, 0, None) / (pool - 1 - r)
    return np.concatenate([[1.0], np.cumprod(steps)]) * n / pool


def run_method(
    tensors: Sequence[RewardTensor], method: Method, schedule: Schedule, candidates: np.ndarray, draws: int, seed: int
) -> tuple[dict, dict]:
    """The mean value of the candidates that a method returns: by prompt {name: [B, P]} and by draw {name: [B, D]}.

    candidates: int [B]. Raises Unread for a step at which the method can read nothing.
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
    block = max(1, DRAWN_AT_ONCE // (prompts * int(counts[-1])))
    for start in range(0, draws, block):
        size = min(block, draws - start)
        chosen = choose(draw_candidates(rng, prompts, pool, size, int(counts[-1])), counts) + row
        for name, final in finals.items():
            values = final.take(chosen)
            sums[name] += values.sum(2)
            by_draw[name][possible, start : start + size] = values.mean(1)[place]
    for name in finals:
        by_prompt[name][possible] = sums[name][place] / draws
    return by_prompt, by_draw


def _choice(method: Method, tensors: Sequence[RewardTensor], schedule: Schedule, rng: np.random.Generator) -> Choose:
    """The method's `choose`, checked, with read-only tensors. Raises BadInput if it breaks the rules for methods."""
    shared = [replace(t, prompts=list(t.prompts), attrs=dict(t.attrs)) for t in tensors]
    for tensor in shared:
        for name in (*REWARDS, "accepted"):
            if (values := getattr(tensor, name)) is not None:
                setattr(tensor, name, values.view())
                getattr(tensor, name).flags.writeable = False
    title, pool = f"method {getattr(method, '__name__', method)}", tensors[0].base.shape[1]

    def watched(function: Callable, *arguments):
        try:
            return function(*arguments)
        except ValueError as error:
            if "read-only" not in str(error):
                raise
            raise BadInput(f"{title}: changes the tensors it is given; work on copies") from None

    choose = watched(method, shared, schedule, rng)

    def checked(drawn: np.ndarray, counts: np.ndarray) -> np.ndarray:
        chosen, shape = np.asarray(watched(choose, drawn, counts)), (len(counts), *drawn.shape[:2])
        if chosen.shape != shape or chosen.dtype.kind not in "iu":
            raise BadInput(
                f"{title}: it chose {chosen.dtype} {list(chosen.shape)}; it must choose whole numbers "
                f"{list(shape)}, one for each count, prompt and draw"
            )
        low, high = chosen.min(), chosen.max()
        if low < 0 or high >= pool:
            raise BadInput(
                f"{title}: it chose candidate {low if low < 0 else high}, "
                f"which is none of 0..{pool - 1}; it must choose among those drawn"
            )
        return chosen

    return checked
