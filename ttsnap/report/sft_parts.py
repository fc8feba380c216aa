"""The parts of the report on the second method: the table over seeds, loss curves, grids of images."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from ttsnap.errors import BadInput, foreign_content
from ttsnap.storage.files import read_json, reading, write_text


def make_sft_part(part: str, paths: Mapping[str, Sequence[str]], out: str, *, own_models: bool = False) -> dict:
    """Make one of SFT_PARTS and write it to `out`, as PNG or (the table) as a page. Returns the figures of the table.

    paths: "comparison", JSON of `compare-sft`; "training", …/SEED/WAY/CYCLE/train_summary.json; "images" of
    `compare-sft`, WAY.CYCLE.safetensors. own_models: whether each seed has its own original model. Raises BadInput for
    files that are missing, foreign, or do not belong together.
    """
    option, make = SFT_PARTS[part]
    given = [path for files in paths.values() for path in files]
    names = ", ".join(given[:3]) + (", …" if given[3:] else "")
    with foreign_content(names, f"what --part {part} takes", "see `ttsnap report-sft --help`"):
        if not paths.get(option):
            raise BadInput(f"--{option}: --part {part} needs it")
        return make(paths[option], out, own_models)


def _table(files: Sequence[str], out: str, own_models: bool) -> dict:
    from ttsnap.report.pages import render
    from ttsnap.report.sft_summary import MODEL_NAMES, summarise_sft

    summary = summarise_sft([read_json(path) for path in files])
    write_text(out, render("sft", **summary, names=MODEL_NAMES, own_models=own_models))
    return summary


def _curves(files: Sequence[str], out: str, own_models: bool) -> dict:
    from ttsnap.report.sft_figures import loss_curves
    from ttsnap.report.sft_summary import join_histories

    summaries = []
    for path in map(Path, files):
        seed, way, cycle = path.parts[-4:-1]
        summaries.append(read_json(path) | {"run_seed": int(seed), "way": way, "cycle": int(cycle)})
    histories, breaks = join_histories(summaries)
    loss_curves(histories, out, breaks)
    return {}


def _grid(files: Sequence[str], out: str, own_models: bool) -> dict:
    from safetensors import safe_open

    from ttsnap.report.sft_figures import image_grid
    from ttsnap.report.sft_summary import MODEL_NAMES

    rows, fresh, titles = {}, {}, []
    for path in map(Path, files):
        way, cycle = path.stem.split(".")
        name = MODEL_NAMES[way] + (f", cycle {cycle}" if int(cycle) else "")
        with reading(path, "not the images of a training", "run sft again"), safe_open(path, framework="np") as file:
            about = json.loads(file.metadata()["ttsnap"])
            if not rows:
                titles = about["test"]
                rows["held-out target"] = file.get_tensor("test_target")
            if about["test"] != titles:
                raise BadInput(f"{path}: shows other targets than {files[0]}")
            rows[name] = file.get_tensor("test_image")
            fresh[f"fresh: {name}"] = file.get_tensor("fresh")
    image_grid(rows | fresh, titles, out)
    return {}


SFT_PARTS = {  # part → its input option and function
    "table": ("comparison", _table),
    "curves": ("training", _curves),
    "grid": ("images", _grid),
}
