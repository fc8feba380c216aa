"""How well schedules that were fitted on few prompts do on others, against simple schedules.

OMP_NUM_THREADS=1 python benchmarks/fit_schedule.py --values FOLDER --noise-aware FOLDER [--json FILE]

FOLDER: published values, FLUX.1-dev and ImageReward. Each split fits on n random prompts and measures Ω on all others,
by 40 draws from all their candidates; no budget is overspent (accounting whole). Printed: the mean over splits ± 2
standard errors. These cover the choice of the n prompts; the values are the same 200 prompts in every split.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from tqdm import tqdm

from ttsnap.pruning.costs import Costs
from ttsnap.pruning.schedule import BEST_OF_N, PUBLISHED, Schedule
from ttsnap.simulate.fit import Settings, fit_schedule, search
from ttsnap.simulate.judge import ScheduleJudge
from ttsnap.simulate.montecarlo import best_of_n
from ttsnap.storage.files import write_json
from ttsnap.storage.published import published_tensor
from ttsnap.storage.tensor import RewardTensor

COSTS = Costs(9.9, 1.2, 20, "whole")
FRACTIONS = np.arange(1, 10) / 10


@dataclass(frozen=True)
class Setting:
    """Budgets, and how many of a prompt's candidates there are to fit on."""

    budgets: np.ndarray
    pool: int


SETTINGS = {
    "wide": Setting(np.arange(400.0, 4001, 200), 200),
    "narrow": Setting(np.nextafter(np.arange(3.0, 9) * COSTS.best_of_n(), np.inf), 24),
}
Fit = Callable[[RewardTensor, np.ndarray, str, int], Schedule]


def fitted(settings: Settings) -> Fit:
    """The fit of `ttsnap fit-schedule`, fallback to best-of-N included."""

    def fit(tensor: RewardTensor, budgets: np.ndarray, method: str, seed: int) -> Schedule:
        return Schedule.from_json(fit_schedule(tensor, tensor, budgets, COSTS, method, seed, settings)["schedule"])

    return fit


def few_looks(most: int) -> Fit:
    """The best found with so few looks, by the mean gain."""

    def fit(tensor: RewardTensor, budgets: np.ndarray, method: str, seed: int) -> Schedule:
        judge = ScheduleJudge(tensor, budgets, COSTS, method, 8, np.random.default_rng([seed, 3]))
        if most == 1:
            tried = [Schedule((look,), (fraction,)) for look in judge.looks for fraction in FRACTIONS.round(1).tolist()]
        else:
            tried = search(judge, Settings(evaluations=1000, most_looks=most), np.random.default_rng([seed, 4]))
        gains = {schedule: judge.gains(schedule) for schedule in tried}
        return max((s for s in tried if gains[s] is not None), key=lambda s: gains[s].mean(), default=BEST_OF_N)

    return fit


FITS: dict[str, Fit] = {
    "own values alone": fitted(Settings(modelled=0)),
    "and modelled prompts": fitted(Settings()),
    "published schedule": lambda *_: PUBLISHED,
    "best single look": few_looks(1),
    "best two looks": few_looks(2),
}


class HeldOut:
    """Ω of schedules on any prompts of a tensor."""

    def __init__(self, tensor: RewardTensor, budgets: np.ndarray, method: str):
        self.judge = judge = ScheduleJudge(tensor, budgets, COSTS, method, 40, np.random.default_rng(99))
        curve = best_of_n(tensor, COSTS.within(judge.budgets))[tensor.reward]
        self.area, self.known = judge.weights @ (curve - curve[0]), {BEST_OF_N: np.zeros(len(tensor.base))}

    def __call__(self, schedule: Schedule, prompts: np.ndarray) -> float:
        if schedule not in self.known:
            self.known[schedule] = self.judge.gains(schedule) * self.judge.area
        return float(self.known[schedule][prompts].sum() / self.area[prompts].sum())


def part(tensor: RewardTensor, prompts: np.ndarray, candidates: np.ndarray) -> RewardTensor:
    base, noise_aware = (values[np.ix_(prompts, candidates)] for values in (tensor.base, tensor.noise_aware))
    return replace(tensor, base=base, noise_aware=noise_aware, prompts=[], candidates=None)


def study(
    tensor: RewardTensor, setting: Setting, method: str, counts: list[int], splits: range, fits: list[str]
) -> Iterator[dict]:
    """After each split {fit: {n: {"gain": [splits], "seconds": [splits], CPU time}}}."""
    held_out = HeldOut(tensor, setting.budgets, method)
    found = {name: {n: {"gain": [], "seconds": []} for n in counts} for name in fits}
    for split in tqdm(splits, desc=method):
        rng = np.random.default_rng([7, split])
        prompts, pool = rng.permutation(len(tensor.base)), rng.permutation(tensor.base.shape[1])[: setting.pool]
        for n in counts:
            few = part(tensor, prompts[:n], pool)
            for name in fits:
                start = time.process_time()
                schedule = FITS[name](few, setting.budgets, method, split)
                found[name][n]["seconds"].append(time.process_time() - start)
                found[name][n]["gain"].append(held_out(schedule, prompts[n:]))
        yield found


def show(found: dict) -> None:
    for name, by_count in found.items():
        print(f"  {name:21}", end="")
        for n, cell in by_count.items():
            gain = 100 * np.array(cell["gain"])
            ends = f" ± {2 * gain.std(ddof=1) / len(gain) ** 0.5:.1f}" if len(gain) > 1 else ""
            print(f" {n}: {gain.mean():.1f}{ends} % ({np.mean(cell['seconds']):.1f} s)", end="")
        print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--values", required=True, metavar="FOLDER", help="published base values")
    parser.add_argument("--noise-aware", required=True, metavar="FOLDER", help="published noise-aware values")
    parser.add_argument("--setting", choices=SETTINGS, action="append", help="default: all")
    parser.add_argument("--method", choices=("ttsp", "ttsnap"), action="append", help="default: both")
    parser.add_argument("--fit", choices=FITS, action="append", help="default: all")
    parser.add_argument("--prompts", type=int, nargs="+", default=[12, 25, 50, 100], help="numbers of prompts")
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--first-split", type=int, default=0, help="which differ by their seed")
    parser.add_argument("--json", metavar="FILE", help="write the figures to FILE")
    args = parser.parse_args()
    tensor, results = published_tensor(args.values, args.noise_aware, steps=20), {}
    splits = range(args.first_split, args.first_split + args.splits)
    for setting in args.setting or SETTINGS:
        for method in args.method or ("ttsp", "ttsnap"):
            for found in study(tensor, SETTINGS[setting], method, args.prompts, splits, args.fit or list(FITS)):
                results.setdefault(setting, {})[method] = found
                if args.json:
                    write_json(args.json, results)
            print(f"{setting} {method}: held-out gain over best-of-N (CPU seconds of a fit)")
            show(found)


if __name__ == "__main__":
    main()
