"""The parts of the report on the second method: the table over seeds, loss curves, grids of images."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ttsnap.errors import BadInput, foreign_content
from ttsnap.storage.files import read_json, reading, write_text


@dataclass(frozen=True)
class SftInputs:
    """What a part is made from, and where it goes; the arguments of `make_sft_part`."""

    part: str
    out: str
    comparison: Sequence[str]
    training: Sequence[str]
    images: Sequence[str]
    own_models: bool

    def some(self, option: str) -> Sequence[str]:
        """The files of an option that the part needs."""
        if not (paths := getattr(self, option)):
            raise BadInput(f"--{option}: --part {self.part} needs it")
        return paths


def make_sft_part(
    part: str,
    out: str,
    *,
    comparison: Sequence[str] = (),
    training: Sequence[str] = (),
    images: Sequence[str] = (),
    own_models: bool = False,
) -> dict:
    """Make one of SFT_PARTS and write it to `out`: a PNG, or a page for "table". Returns its figures, if any.

    comparison: JSON of `compare-sft`; training: train_summary.json below …/SEED/WAY/CYCLE/; images: of `compare-sft`,
    named WAY.CYCLE.safetensors. own_models: whether each seed has an original model of its own. Raises BadInput for
    files that are missing, foreign, or do not belong together.
    """
    inputs = SftInputs(part, out, comparison, training, images, own_models)
    paths = [*comparison, *training, *images]
    names = ", ".join(paths[:3]) + (", …" if paths[3:] else "")
    with foreign_content(names, f"what --part {part} takes", "see `ttsnap report-sft --help`"):
        return SFT_PARTS[part](inputs)


def _table(inputs: SftInputs) -> dict:
    from ttsnap.report.pages import render
    from ttsnap.report.sft_summary import NAMES, summarise_sft

    summary = summarise_sft([read_json(path) for path in inputs.some("comparison")])
    page = render("sft", **summary, names=NAMES, own_models=inputs.own_models)
    write_text(inputs.out, page)
    return summary


def _curves(inputs: SftInputs) -> dict:
    from ttsnap.report.sft_figures import loss_curves
    from ttsnap.report.sft_summary import join_histories

    summaries = []
    for path in map(Path, inputs.some("training")):
        seed, way, cycle = path.parts[-4:-1]
        about = {"run_seed": int(seed), "way": way, "cycle": int(cycle)}
        summaries.append(read_json(path) | about)
    histories, breaks = join_histories(summaries)
    loss_curves(histories, inputs.out, breaks)
    return {}


def _grid(inputs: SftInputs) -> dict:
    from safetensors import safe_open

    from ttsnap.report.sft_figures import image_grid
    from ttsnap.report.sft_summary import NAMES

    rows, fresh, titles = {}, {}, []
    for path in map(Path, inputs.some("images")):
        way, cycle = path.stem.split(".")
        name = NAMES[way] + (f", cycle {cycle}" if int(cycle) else "")
        with (
            reading(path, "not the images of a training", "run sft again"),
            safe_open(path, framework="np") as file,
        ):
            about = json.loads(file.metadata()["ttsnap"])
            if not rows:
                titles = about["test"]
                rows["held-out target"] = file.get_tensor("test_target")
            if about["test"] != titles:
                raise BadInput(f"{path}: shows other targets than {inputs.images[0]}")
            rows[name] = file.get_tensor("test_image")
            fresh[f"fresh: {name}"] = file.get_tensor("fresh")
    image_grid(rows | fresh, titles, inputs.out)
    return {}


SFT_PARTS = {"table": _table, "curves": _curves, "grid": _grid}
