"""How fast the simulator is, against YAML and against the formulas of docs/method.md written out in NumPy.

OMP_NUM_THREADS=1 python benchmarks/simulate.py [--json FILE]: times are the best of several, in CPU seconds, so that a
busy machine does not matter; ratios are of one run on one machine.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import yaml

from ttsnap.pruning.costs import Costs
from ttsnap.pruning.schedule import PUBLISHED
from ttsnap.simulate.fit import Settings, search
from ttsnap.simulate.judge import ScheduleJudge
from ttsnap.simulate.methods import METHODS
from ttsnap.simulate.montecarlo import simulate
from ttsnap.simulate.summary import summarise
from ttsnap.storage.files import write_json
from ttsnap.storage.published import read_values
from ttsnap.storage.tensor import RewardTensor, read_tensor, write_tensor

BUDGETS = np.arange(400.0, 4001, 200)
COSTS = Costs(9.9, 1.2, 20)
PRUNING_METHODS = {name: METHODS[name] for name in ("ttsp", "ttsnap")}  # beside best-of-N


def example(prompts: int = 200, candidates: int = 200, steps: int = 20) -> RewardTensor:
    rng = np.random.default_rng(0)
    final = rng.normal(size=(prompts, candidates, 1))
    noise = np.linspace(1.5, 0, steps)
    base = final + 2 * noise * rng.normal(size=(prompts, candidates, steps))
    noise_aware = final + noise * rng.normal(size=base.shape)
    return RewardTensor(base, noise_aware, attrs={"reward": "example"})


def best_time(function, repeats: int = 5) -> float:
    times = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return min(times)


def sweep(tensor: RewardTensor, draws: int = 50) -> dict:
    curves = simulate([tensor], BUDGETS, COSTS, PUBLISHED, methods=PRUNING_METHODS, draws=draws)
    return summarise(curves, BUDGETS, COSTS, [tensor])


def plain_sweep(tensor: RewardTensor, draws: int) -> None:
    """Best-of-N, TTSp and TTSnap as docs/method.md states them, prompts in one array."""
    rng = np.random.default_rng(0)
    final, pool = tensor.base[:, :, -1], tensor.base.shape[1]
    for budget in BUDGETS:
        for rewards in (None, tensor.base, tensor.noise_aware):
            steps = () if rewards is None else PUBLISHED.looks
            cost = COSTS.schedule(PUBLISHED) if steps else COSTS.best_of_n()
            for _ in range(draws):
                left = np.argsort(rng.random(final.shape), axis=1)[:, : int(budget // cost)]
                for step, fraction in zip(steps, PUBLISHED.keep, strict=False):
                    seen = np.take_along_axis(rewards[:, :, step], left, axis=1)
                    count = max(1, round(left.shape[1] * fraction))
                    top = np.argsort(-seen, axis=1)[:, :count]
                    left = np.take_along_axis(left, top, axis=1)
                np.take_along_axis(final, left, axis=1).max(axis=1).mean()
    assert left.max() < pool


def loading(tensor: RewardTensor, folder: Path) -> dict:
    """The whole tensor is timed; of YAML one step, whose time counts for all steps of both kinds."""
    write_tensor(folder / "r.h5", tensor)
    prompts, candidates, steps = tensor.base.shape
    values = {p: tensor.base[p, :, -1].astype(float).tolist() for p in range(prompts)}
    (folder / "yaml").mkdir()
    path = folder / "yaml" / f"p{prompts}_i{candidates}_s00.yaml"
    path.write_text(yaml.safe_dump(values))
    tensor_s = best_time(lambda: read_tensor(folder / "r.h5"))
    import_s = 2 * steps * best_time(lambda: read_values(folder / "yaml"), 2)
    start = time.process_time()
    yaml.safe_load(path.read_text())
    plain_s = 2 * steps * (time.process_time() - start)
    return {"tensor_s": tensor_s, "import_s": import_s, "yaml_s": plain_s, "yaml_over_tensor": plain_s / tensor_s}


def simulation(tensor: RewardTensor) -> dict:
    ours = best_time(lambda: sweep(tensor))
    plain = best_time(lambda: plain_sweep(tensor, draws=5), 2) * 50 / 5
    runs = len(BUDGETS) * 50 * 3
    return {"sweep_s": ours, "plain_s": plain, "plain_over_ours": plain / ours, "simulations_per_s": runs / ours}


def growth() -> dict:
    """Seconds of a sweep as one size grows; the others stay at 100."""

    def seconds(prompts: int = 100, candidates: int = 100, draws: int = 100) -> float:
        tensor = example(prompts, candidates)
        return best_time(lambda: sweep(tensor, draws))

    return {
        name: {size: seconds(**{name: size}) for size in (100, 200, 400)} for name in ("prompts", "candidates", "draws")
    }


def fitting(tensor: RewardTensor) -> dict:
    half = tensor.select(slice(0, 100))
    rng, settings = np.random.default_rng(0), Settings(evaluations=400)
    start = time.process_time()
    judge = ScheduleJudge(half, BUDGETS, COSTS, "ttsnap", settings.draws, rng)
    search(judge, settings, rng)
    return {"evaluations_per_minute": 60 * judge.evaluated / (time.process_time() - start)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", metavar="FILE", help="write the figures to FILE")
    args = parser.parse_args()
    tensor = example()
    with tempfile.TemporaryDirectory() as folder:
        results = {"load": loading(tensor, Path(folder))}
    results |= {"simulate": simulation(tensor), "fit": fitting(tensor), "growth_s": growth()}
    load, simulated = results["load"], results["simulate"]
    print(f"load a tensor: {load['tensor_s']:.3f} s, {load['yaml_over_tensor']:.0f} × faster than "
          f"its YAML ({load['yaml_s']:.0f} s; import-values takes {load['import_s']:.1f} s)")  # fmt: skip
    print(f"a sweep (19 budgets, 50 draws, 3 methods, 200×200×20): {simulated['sweep_s']:.3f} s, "
          f"{simulated['plain_over_ours']:.0f} × faster than plain NumPy")  # fmt: skip
    print(f"schedules judged: {results['fit']['evaluations_per_minute']:.0f} a minute")
    for name, times in results["growth_s"].items():
        print(f"sweep by {name}: " + ", ".join(f"{size}: {seconds:.3f} s" for size, seconds in times.items()))
    if args.json:
        write_json(args.json, results)


if __name__ == "__main__":
    main()
