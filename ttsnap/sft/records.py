"""The assigned dataset: a folder of manifest.jsonl, failures.jsonl, summary.json and blocks of samples.

A block (safetensors) holds some samples: noise [n, …] (z), base [n, …] (ε), image uint8 [n, H, W, C] (the target) and,
on patches, state [n, D, D] (Q), with their meta in its header. A manifest line names a sample's block and row, relative
to the folder, which can be moved.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from ttsnap.errors import BadInput, reads
from ttsnap.storage.files import parse_json, reading, replacing, write_text
from ttsnap.storage.provenance import check_same


@dataclass
class Block:
    """The header of a block."""

    path: Path
    settings: dict  # what its noises depend on: model, seed, settings of the assignment
    records: list[dict]
    history: list[float]  # mean objective after each step


def write_block(
    folder: str | Path, tensors: dict[str, torch.Tensor], settings: dict, records: list, history: list
) -> None:
    """Add a block to a dataset, whole or not at all, under the first free number."""
    folder = Path(folder) / "blocks"
    taken = [int(p.stem) for p in folder.glob("*.safetensors") if p.stem.isdigit()]
    about = {"settings": settings, "records": records, "history": history}
    tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    with replacing(folder / f"{max(taken, default=-1) + 1:06d}.safetensors") as temporary:
        save_file(tensors, temporary, metadata={"ttsnap": json.dumps(about, sort_keys=True)})


@reads("an assigned dataset", "run assign again")
def read_blocks(folder: str | Path) -> list[Block]:
    """The headers of a dataset's blocks, in order; a missing folder has none."""
    blocks, place = [], Path(folder) / "blocks"
    with reading(place, "cannot be read"):
        paths = sorted(place.iterdir()) if place.is_dir() else []
    for path in paths:
        if not path.match("[0-9]*.safetensors"):
            continue
        broken = "not a whole block of an assigned dataset"
        with reading(path, broken, "delete it"), safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            if "ttsnap" not in header:
                raise BadInput(f"{path}: not a block of an assigned dataset; move it elsewhere")
            about = json.loads(header["ttsnap"])
            blocks.append(Block(path, about["settings"], about["records"], about["history"]))
    return blocks


def write_lines(path: str | Path, values: Iterable[dict]) -> None:
    """Write JSON lines, whole or not at all."""
    write_text(path, "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values))


def write_manifest(folder: str | Path, blocks: list[Block], keys: set[str] | None = None) -> list[dict]:
    """Write manifest.jsonl from the blocks, by index, each target once: in its latest block. Returns the lines.

    keys: only these targets.
    """
    lines = {}
    for block in blocks:
        for row, record in enumerate(block.records):
            if keys is None or record["id"] in keys:
                lines[record["id"]] = {**record, "block": f"blocks/{block.path.name}", "row": row}
    ordered = sorted(lines.values(), key=lambda line: (line["index"], line["id"]))
    write_lines(Path(folder) / "manifest.jsonl", ordered)
    return ordered


@dataclass
class Assigned:
    """Samples of one or more assigned datasets. keys, conditions: n texts; tensors with n rows."""

    keys: list[str]
    conditions: list[str]
    losses: list[float]
    noise: torch.Tensor
    base: torch.Tensor
    images: torch.Tensor  # uint8 [n, H, W, C]
    state: torch.Tensor  # what a next assignment starts from
    made_from: dict  # model, image size, seed and settings of the assignment
    seeds: list[int | None]  # of the noise that each target was made from, which is then its base noise

    def pixels(self, rows=slice(None)) -> torch.Tensor:
        """The targets, or those of some rows, as float32 [n, C, H, W] in [0, 1]."""
        return self.images[rows].permute(0, 3, 1, 2).float() / 255


@reads("manifests of assigned datasets", "run assign again")
def read_assigned(manifests: Sequence[str | Path]) -> Assigned:
    """Read every sample that the manifests name.

    Raises BadInput when a manifest is broken, empty, misses a block, or was assigned with other settings than the
    first.
    """
    lines, samples, made_from = [], [], None
    for manifest in map(Path, manifests):
        folder, opened = manifest.parent, {}
        for number, line in enumerate(_read_lines(manifest)):
            try:
                name, row = str(line["block"]), int(line["row"])
                if name not in opened:
                    opened[name], settings = _open_block(folder, name)
                    made_from = made_from or settings
                    again = "give datasets that were assigned alike"
                    check_same(folder / name, settings, manifests[0], made_from, again)
                samples.append({key: value[row] for key, value in opened[name].items()})
                lines.append((line["id"], line["prompt"], float(line["loss"]), line.get("seed")))
            except (KeyError, TypeError, ValueError, IndexError) as error:
                raise BadInput(f"{manifest}, line {number + 1}: {type(error).__name__} {error}") from None
    if not lines:
        raise BadInput(f"{', '.join(map(str, manifests))}: no sample in it")
    keys, conditions, losses, seeds = map(list, zip(*lines, strict=True))
    try:
        joined = {key: torch.stack([sample[key] for sample in samples]) for key in samples[0]}
    except (KeyError, RuntimeError):
        raise BadInput(f"{manifests[0]}: samples of different models or settings") from None
    noise, base, images = (joined[key] for key in ("noise", "base", "image"))
    return Assigned(keys, conditions, losses, noise, base, images, joined.get("state", noise), made_from, seeds)


def has_samples(manifest: str | Path) -> bool:
    """Whether a manifest has any line; without a usable target it has none."""
    return bool(_read_lines(Path(manifest)))


def _read_lines(path: Path) -> list[dict]:
    with reading(path, "cannot be read as a manifest"):
        text = path.read_text(encoding="utf-8")
        return [parse_json(line) for line in text.split("\n") if line.strip()]


def _open_block(folder: Path, name: str) -> tuple[dict[str, torch.Tensor], dict]:
    """Tensors and settings of a block."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise BadInput(f"{folder / 'manifest.jsonl'}: {name[:60]!r} leaves the dataset")
    if len(name) > 200:
        raise BadInput(f"{folder / 'manifest.jsonl'}: {name[:60]!r}… is the name of no block")
    again = "run assign again"
    with reading(path, "damaged", again, again), safe_open(path, framework="pt") as file:
        settings = json.loads((file.metadata() or {})["ttsnap"])["settings"]
        return {key: file.get_tensor(key) for key in file.keys()}, settings
