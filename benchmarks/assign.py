"""Seconds of assignment per target: batches on the sphere against one target at a time with exp(S); how it grows.

`make bench` runs it. A generator's weights make no difference to the time and little to the comparison of losses; the
28×28 GAN is trained for a moment on Fashion-MNIST where Debian's package is, else it is random.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from ttsnap.noise.assign import assign
from ttsnap.sft.data import DEBIAN_FASHION, Images, load_images
from ttsnap.sft.gan import GanGenerator, save_gan, to_unit, train_gan
from ttsnap.sft.generators import Generator, base_noise, load_generator, rows
from ttsnap.sft.settings import Assign, Gan

CLASSES = [str(n) for n in range(10)]


def data(count: int) -> Images:
    """Fashion-MNIST, or noise where it is not at hand."""
    if DEBIAN_FASHION.is_dir():
        return load_images("fashion_mnist").take(0, count)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, 28, 28, 1), dtype=np.uint8)
    return Images(images, rng.integers(10, size=count), tuple(CLASSES))


def gan(folder: Path, latent: int, epochs: int = 0) -> Generator:
    """A 28×28 GAN with this length of z."""
    torch.manual_seed(0)
    net = GanGenerator(1, 28, latent, 32, data(1).classes)
    if epochs:
        net, _ = train_gan(data(2000), Gan(latent=latent, epochs=epochs).model_dump(), 0)
    save_gan(net, folder)
    return load_generator(str(folder))


def targets(generator: Generator, count: int) -> dict:
    """What `assign` takes of so many targets."""
    some = data(count)
    pixels = to_unit(some.images)
    return dict(
        eps=base_noise(generator, 0, [str(n) for n in range(count)]),
        condition=generator.embed([some.classes[label] for label in some.labels]),
        target_latents=generator.encode(pixels),
        targets=pixels,
    )


def timed(generator: Generator, given: dict, **settings) -> tuple[float, float]:
    """(CPU seconds a target, mean final loss)."""
    start = time.process_time()
    found = assign(generator, **given, settings=Assign(**settings).model_dump())
    return (time.process_time() - start) / len(given["eps"]), float(found.best.mean())


def part(given: dict, at: slice) -> dict:
    return {k: rows(v, at) if isinstance(v, tuple) else v[at] for k, v in given.items()}


def against_one_at_a_time(generator: Generator, count: int, alone: int, steps: int) -> dict:
    """The same targets, steps and rate, both ways; the slow one on the first `alone` of them."""
    given = targets(generator, count)
    timed(generator, part(given, slice(0, 2)), steps=2)  # warm up
    fast, _ = timed(generator, given, steps=steps)
    few = [part(given, slice(n, n + 1)) for n in range(alone)]
    slow = [timed(generator, one, steps=steps, form="exp") for one in few]
    _, fast_loss = timed(generator, part(given, slice(0, alone)), steps=steps)
    slow_seconds, slow_loss = (float(np.mean(column)) for column in zip(*slow, strict=True))
    return {
        "batch_s_per_target": fast,
        "alone_s_per_target": slow_seconds,
        "times_cheaper": slow_seconds / fast,
        "batch_loss": fast_loss,
        "alone_loss": slow_loss,
    }


def growth(folder: Path, steps: int) -> dict:
    """CPU seconds a target by batch size and by length of z."""
    generator = gan(folder / "64", 64)
    by_batch = {
        n: timed(generator, targets(generator, n), steps=steps)[0] for n in (1, 4, 16, 64, 256)
    }
    by_z = {}
    for latent in (32, 64, 128, 256):
        generator = gan(folder / str(latent), latent)
        given = targets(generator, 64)
        by_z[latent] = {
            form: timed(generator, given, steps=steps, form=form)[0] for form in ("sphere", "exp")
        }
    return {"batch": by_batch, "z": by_z}


def patches(model: str, steps: int) -> dict:
    """CPU seconds a target of a one-step pipeline: by patch size in batches of 8, and one at a time."""
    generator = load_generator(model)
    images = torch.rand(8, *generator.image_shape)
    given = dict(
        eps=base_noise(generator, 0, [str(n) for n in range(8)]),
        condition=generator.embed(["a red circle"] * 8),
        target_latents=generator.encode(images),
        targets=images,
    )
    by_patch = {
        p: dict(zip(("s_per_target", "loss"), timed(generator, given, steps=steps, patch=p, lr=5e-3),
                    strict=True))
        for p in (1, 2, 4, 8)
    }  # fmt: skip
    alone, _ = timed(generator, part(given, slice(0, 1)), steps=steps, lr=5e-3)
    return {"batch_of_8": by_patch, "alone_patch_2_s": alone}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", metavar="FILE", help="write the figures to FILE")
    parser.add_argument("--quick", action="store_true", help="few targets and steps, to try it out")
    parser.add_argument("--model", default="embedded:shapes-sdxl", help="pipeline for patch sizes")
    args = parser.parse_args()
    torch.set_num_threads(1)
    steps = 20 if args.quick else 200
    with tempfile.TemporaryDirectory() as folder:
        generator = gan(Path(folder) / "trained", 64, 0 if args.quick else 3)
        speed = against_one_at_a_time(generator, 256, 2 if args.quick else 8, steps)
        grows = growth(Path(folder), max(2, steps // 10))
    results = {"steps": steps, "gan_28": speed, "growth": grows}
    results["patches"] = patches(args.model, max(2, steps // 20))
    print("28×28 GAN, z 64, {} steps: {:.4f} s a target in a batch of 256 on the sphere, {:.3f} s alone with exp(S): "
          "{:.0f} × cheaper; loss {:.4f} against {:.4f}".format(steps, *speed.values()))  # fmt: skip
    for name, values in {**grows, **results["patches"]}.items():
        print(f"{name}: {values}")
    if args.json:
        Path(args.json).write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
