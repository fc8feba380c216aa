"""Cost of assignment per target: in batches against one target at a time with exp(S) and Adam; and how it grows.

`make bench` runs it. Both ways have the same targets, generator, objective and limit of steps. The 28×28 GAN is trained
for some minutes on Fashion-MNIST if Debian's package is installed, else on noise. Times are wall-clock times on all
cores, so the machine should be idle, and beside them CPU seconds of all threads. Losses are of the same targets.
"""

import argparse
import json
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from ttsnap.commands.allocator import keep_freed_memory
from ttsnap.noise.assign import assign, reconstruction
from ttsnap.noise.maps import rotate_patches
from ttsnap.settings.datasets import LABELLED
from ttsnap.settings.sft import Assign, Gan
from ttsnap.sft.assignment import batch_size
from ttsnap.sft.data import Images, load_images
from ttsnap.sft.gan import GanGenerator, save_gan, to_unit, train_gan
from ttsnap.sft.generator import Generator, base_noise, rows
from ttsnap.sft.generators import load_generator
from ttsnap.storage.files import write_json

CLASSES = [str(n) for n in range(10)]
TRAINING = 2000  # images that train the GAN; targets are later ones


def data(start: int, count: int) -> Images:
    """Fashion-MNIST, or noise where it is not installed."""
    if LABELLED["fashion_mnist"].packaged.is_dir():
        return load_images("fashion_mnist").take(start, count)
    rng = np.random.default_rng(start)
    images = rng.integers(0, 256, (count, 28, 28, 1), dtype=np.uint8)
    return Images(images, rng.integers(10, size=count), tuple(CLASSES))


def gan(folder: Path, latent: int, epochs: int = 0) -> Generator:
    """A 28×28 GAN with this length of z, trained or (0 epochs) random."""
    torch.manual_seed(0)
    net = GanGenerator(1, 28, latent, 32, data(0, 1).classes)
    if epochs:
        net, _ = train_gan(data(0, TRAINING), Gan(latent=latent, epochs=epochs).model_dump(), 0)
    save_gan(net, folder)
    return load_generator(str(folder))


def gan_targets(generator: Generator, count: int) -> dict:
    """`targets` of this many images."""
    images = data(TRAINING, count)
    return targets(generator, to_unit(images.images), [images.classes[n] for n in images.labels])


def targets(generator: Generator, pixels: torch.Tensor, conditions: list[str]) -> dict:
    """`assign`'s inputs for these images."""
    return dict(
        eps=base_noise(generator, 0, [str(n) for n in range(len(pixels))]),
        condition=generator.embed(conditions),
        target_latents=generator.encode(pixels),
        targets=pixels,
    )


def part(given: dict, at: slice) -> dict:
    return {k: rows(v, at) if isinstance(v, tuple) else v[at] for k, v in given.items()}


def plain(generator: Generator, target: dict, steps: int, lr: float, patch: int) -> float:
    """One target the plain way: Adam on A, z = exp(A − Aᵀ)·ε; the lowest objective reached."""
    eps = target["eps"]
    size = eps.shape[1] * (patch**2 if eps.ndim == 4 else 1)
    a = torch.zeros(size, size, requires_grad=True)
    optimiser, best = torch.optim.Adam([a], lr=lr), float("inf")
    given = [target[key] for key in ("condition", "target_latents", "targets")]
    for step in range(steps + 1):
        q = torch.matrix_exp(a - a.T)
        z = rotate_patches(eps, q, patch) if eps.ndim == 4 else eps @ q.T
        loss = reconstruction(generator, z, *given, Assign().latent, Assign().pixel).sum()
        best = min(best, loss.item())
        if step < steps:
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return best


@dataclass
class Cost:
    """Seconds since its creation: wall-clock, and CPU over all threads."""

    wall: float = field(default_factory=lambda: -time.perf_counter())
    cpu: float = field(default_factory=lambda: -time.process_time())

    def per(self, count: int) -> dict:
        """The share of one in `count`."""
        return {"s": (self.wall + time.perf_counter()) / count, "cpu_s": (self.cpu + time.process_time()) / count}


def batched(generator: Generator, given: dict, **settings) -> dict:
    """`assign` in batches as `ttsnap assign` has them: cost per target, losses, evaluations per target."""
    settings, cost, losses, evaluations = Assign(**settings).model_dump(), Cost(), [], 0
    size = batch_size(generator, settings)
    for at in range(0, len(given["eps"]), size):
        found = assign(generator, **part(given, slice(at, at + size)), settings=settings)
        losses += found.best.tolist()
        evaluations += int(found.evaluations.sum())
    return {**cost.per(len(losses)), "losses": losses, "evaluations": evaluations / len(losses)}


def compare(generator: Generator, given: dict, alone: int, steps: int, lrs: list[float]) -> dict:
    """All targets in batches against the first `alone` of them the plain way; the ratios are at the first rate."""
    batched(generator, part(given, slice(0, 2)), steps=2)  # warm up
    batch = batched(generator, given, steps=steps)
    losses, ways = batch.pop("losses"), []
    for lr in lrs:
        cost = Cost()
        found = [plain(generator, part(given, slice(n, n + 1)), steps, lr, Assign().patch) for n in range(alone)]
        ways.append({**cost.per(alone), "lr": lr, "loss": float(np.mean(found))})
    return {
        "targets": len(losses),
        "threads": torch.get_num_threads(),
        "batch": {**batch, "loss": float(np.mean(losses[:alone]))},
        "alone_targets": alone,
        "alone": ways,
        "times_cheaper": ways[0]["s"] / batch["s"],
        "times_less_cpu": ways[0]["cpu_s"] / batch["cpu_s"],
    }


def growth(folder: Path, generator: Generator, steps: int) -> dict:
    """Milliseconds per evaluation of a target, by batch size and by length of z."""

    def cost(generator: Generator, given: dict, **settings) -> float:
        return ms(batched(generator, given, steps=steps, tolerance=0, **settings))

    given = gan_targets(generator, 256)
    by_batch = {n: cost(generator, part(given, slice(0, max(n, 8))), batch_size=n) for n in (1, 4, 16, 64, 256)}
    by_z = {}
    for latent in (32, 64, 128, 256):
        other = gan(folder / str(latent), latent)
        given = gan_targets(other, 64)
        by_z[latent] = {form: cost(other, given, form=form) for form in ("sphere", "exp")}
    return {"ms_by_batch": by_batch, "ms_by_z": by_z}


def ms(found: dict) -> float:
    """Milliseconds per evaluation of a target."""
    return 1000 * found["s"] / found["evaluations"]


def patches(model: str, count: int, alone: int, steps: int) -> dict:
    """`compare` for a one-step pipeline on drawn shapes, and its cost by patch size."""
    from ttsnap.shapes.captions import random_caption
    from ttsnap.shapes.world import place, render

    generator, rng = load_generator(model), np.random.default_rng(0)
    captions = [random_caption(rng, 1 + n % 3) for n in range(count)]
    given = targets(generator, render(place(rng, captions)), [c.text() for c in captions])
    found = compare(generator, given, alone, steps, [5e-2, 5e-3])
    some = part(given, slice(0, 8))
    by_patch = {}
    for p in (1, 2, 4, 8):
        at = batched(generator, some, steps=steps // 4, patch=p)
        by_patch[p] = {"ms": ms(at), "loss": float(np.mean(at["losses"]))}
    return {**found, "by_patch": by_patch}


def say(title: str, found: dict) -> None:
    batch, alone = found["batch"], found["alone"]
    print(f"{title}, {found['threads']} threads: {batch['s']:.4f} s a target in batches, loss {batch['loss']:.4f} "
          f"after {batch['evaluations']:.0f} evaluations; alone with exp(S) "
          + ", ".join(f"{way['s']:.3f} s, loss {way['loss']:.4f} at rate {way['lr']}" for way in alone)
          + f": {found['times_cheaper']:.0f} × cheaper ({found['times_less_cpu']:.0f} × less CPU)",
          flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", metavar="FILE", help="write the figures to FILE")
    parser.add_argument("--quick", action="store_true", help="few targets and steps, to try it out")
    parser.add_argument("--model", default="embedded:shapes-onestep", help="one-step pipeline")
    args = parser.parse_args()
    keep_freed_memory()
    steps, alone = (20, 8) if args.quick else (200, 64)
    results = {"steps": steps}
    with tempfile.TemporaryDirectory() as folder:
        generator = gan(Path(folder) / "trained", 64, 0 if args.quick else 12)
        given = gan_targets(generator, 64 if args.quick else 256)
        results["gan_28"] = compare(generator, given, alone, steps, [5e-2, 1e-2])
        say(f"28×28 GAN, z 64, {steps} steps", results["gan_28"])
        results["growth"] = growth(Path(folder), generator, max(2, steps // 10))
        print(json.dumps(results["growth"], indent=1), flush=True)
    results["pipeline"] = patches(args.model, 8 if args.quick else 32, alone // 8, steps)
    say(f"{args.model}, patch 2, {steps} steps", results["pipeline"])
    print(json.dumps(results["pipeline"]["by_patch"], indent=1))
    if args.json:
        write_json(args.json, results)


if __name__ == "__main__":
    main()
