"""The assignment run (E-step): targets in, blocks of assigned samples out, in batches, resumable."""

import hashlib
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from ttsnap.errors import BadInput
from ttsnap.noise.assign import assign
from ttsnap.report import diagnostics
from ttsnap.sft import records
from ttsnap.sft.gan import to_unit
from ttsnap.sft.generator import Generator, base_noise
from ttsnap.sft.targets import BadTarget, Failure, Target
from ttsnap.storage.files import write_json
from ttsnap.storage.provenance import check_same


def assign_targets(
    generator: Generator,
    targets: Iterable[Target | Failure],
    out: str | Path,
    settings: dict,
    *,
    seed: int = 0,
    start: records.Assigned | None = None,
    mirror: bool = False,
    about: dict | None = None,
) -> dict:
    """Assign every target that has no noise yet; write manifest, failures, summary, diagnostics; return the summary.

    settings: the keys of `settings.sft.Assign`. start: an earlier assignment to go on from; a target whose start has
    changed is assigned again. Finished targets stay, even when they are no longer given; with `mirror` the folder
    holds just the targets given. about: what else a noise depends on. Raises BadInput when the folder holds
    assignments by another model, seed, settings or `about`; with `mirror` those are made again.
    """
    started, out = time.monotonic(), Path(out)
    identity = {key: value for key, value in settings.items() if key != "batch_size"}  # which changes no noise
    size = list(generator.image_shape[1:])
    identity |= {"model": generator.version, "size": size, "seed": seed, **(about or {})}
    earlier = {}
    if start:
        same, again = ("seed", "size", "form", "patch"), "go on with the same ones"
        check_same("the earlier assignment", start.made_from, "this one", identity, again, only=same)
        earlier = dict(zip(start.keys, start.state, strict=True))
    starts = {key: hashlib.sha256(state.numpy().tobytes()).hexdigest()[:12] for key, state in earlier.items()}
    blocks = _blocks_of_this_run(out, identity, mirror)
    done = {record["id"]: record["start"] for block in blocks for record in block.records}
    given, repeated, failures, assigned = set(), [], [], 0
    progress = tqdm(desc="assign", unit="target", mininterval=5)

    def is_done(key: str) -> bool:
        return done.get(key) == starts.get(key, "")

    new = _new(targets, is_done, given, repeated, failures, generator.image_shape, progress)
    while batch := list(islice(new, batch_size(generator, settings))):
        _assign_batch(generator, batch, out, settings, identity, earlier, starts)
        progress.update(len(batch))
        assigned += len(batch)
    progress.close()
    blocks = records.read_blocks(out)
    lines = records.write_manifest(out, blocks, given if mirror else None)
    records.write_lines(out / "failures.jsonl", ({"index": f.index, "error": f.error} for f in failures))
    summary = _summary(lines, blocks, failures, len(given) - assigned)
    summary |= {"repeated": len(repeated), "settings": identity}
    if lines:
        summary["largest_relative_norm_change"] = _diagnose(out, settings["patch"])
    summary["seconds"] = time.monotonic() - started
    write_json(out / "summary.json", summary)
    return summary


def _blocks_of_this_run(out: Path, identity: dict, mirror: bool) -> list[records.Block]:
    """The blocks in the folder; those of another run are refused or, with `mirror`, deleted."""
    blocks = records.read_blocks(out)
    for block in [b for b in blocks if b.settings != identity]:
        if not mirror:
            old = block.settings
            key = next((k for k in identity if old.get(k) != identity[k]), "settings")
            what = f"holds assignments with {key} {old.get(key)}, now it is {identity.get(key)}"
            raise BadInput(f"{out}: {what}; give another --out")
        block.path.unlink()
        blocks.remove(block)
    return blocks


def _diagnose(out: Path, patch: int) -> float:
    """Compare the noises of a dataset with their base noise; returns the largest relative change of norm."""
    samples = records.read_assigned([out / "manifest.jsonl"])
    q = samples.state if samples.state.ndim == 3 else None
    patch = patch if samples.noise.ndim == 4 else 1
    found = diagnostics.write(out, "diagnostics", samples.base, samples.noise, patch, q)
    return found["largest_relative_norm_change"]


def batch_size(generator: Generator, settings: dict) -> int:
    """How many targets to optimise at once; by default 128 vectors or 32 latents."""
    return settings["batch_size"] or (128 if len(generator.noise_shape) == 1 else 32)


def _new(targets, is_done, given, repeated, failures, shape, progress) -> Iterator[tuple[Target, object]]:
    """The targets left to do, with their images; fills `given` and `repeated` with keys, and `failures`."""
    for target in targets:
        if isinstance(target, Failure):
            failures.append(target)
            tqdm.write(f"line {target.index + 1}: {target.error}")
        elif target.key in given:
            repeated.append(target.key)
        else:
            given.add(target.key)
            if is_done(target.key):
                progress.update()
                continue
            try:
                yield target, target.load(shape)
            except BadTarget as error:
                given.discard(target.key)
                failures.append(Failure(target.index, str(error)))
                tqdm.write(f"line {target.index + 1}: {error}")


def _assign_batch(generator, batch, out, settings, identity, earlier, starts) -> None:
    """Assign one batch of targets with their images and write its block."""
    targets, images = zip(*batch, strict=True)
    images = np.stack(images)
    pixels = to_unit(images).to(generator.device)
    condition = generator.embed([target.condition for target in targets])
    eps = base_noise(generator, identity["seed"], [target.key for target in targets], [t.seed for t in targets])
    first = _warm_start(eps, targets, earlier)
    found = assign(generator, eps, condition, generator.encode(pixels), pixels, settings, first)
    lines = [
        {
            "id": target.key,
            "index": target.index,
            "prompt": target.condition,
            "source": target.source,
            "start": starts.get(target.key, ""),
            **({} if target.seed is None else {"seed": target.seed}),
            "loss_start": float(found.start[n]),
            "loss": float(found.best[n]),
        }
        for n, target in enumerate(targets)
    ]
    tensors = {"noise": found.noise, "base": eps, "image": torch.from_numpy(images)}
    if found.state.shape != found.noise.shape:
        tensors["state"] = found.state
    records.write_block(out, tensors, identity, lines, found.history.mean(1).tolist())


def _warm_start(eps, targets, earlier: dict) -> torch.Tensor | None:
    """States to go on from: the earlier ones, and ε itself (Q = I) for new targets."""
    if not earlier:
        return None
    shape = next(iter(earlier.values())).shape
    fresh = eps if shape == eps.shape[1:] else torch.eye(shape[-1]).expand(len(eps), *shape)
    return torch.stack([earlier.get(t.key, new.cpu()) for t, new in zip(targets, fresh, strict=True)]).to(eps)


def _summary(lines: list, blocks: list, failures: list, kept: int) -> dict:
    history = []
    if len({len(block.history) for block in blocks}) == 1:
        weights = [len(block.records) for block in blocks]
        history = np.average([block.history for block in blocks], axis=0, weights=weights).tolist()

    def mean(key: str) -> float | None:
        return sum(line[key] for line in lines) / len(lines) if lines else None

    return {
        "samples": len(lines),
        "kept": kept,
        "failures": len(failures),
        "loss_start": mean("loss_start"),
        "loss": mean("loss"),
        "history": history,
    }
