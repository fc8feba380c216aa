"""The parts of the report, made from files of other commands: figures, tables, gallery, first page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ttsnap.errors import BadInput, foreign_content
from ttsnap.pruning.schedule import Schedule
from ttsnap.report.gallery import gallery
from ttsnap.report.pages import png_uri, render
from ttsnap.report.summary import headline, search_name, summarise_run, verdict, with_and_without
from ttsnap.report.tables import cost_table, fitted_method, gain_table, levels_table, looks_table
from ttsnap.storage.files import read_json, reading, write_json, write_text
from ttsnap.storage.image_shards import read_shard, read_shards
from ttsnap.storage.provenance import check_same, images_record
from ttsnap.storage.tensor import RewardTensor, check_tensors, read_tensor, sources

OVERVIEW, HEADLINE, SUMMARY = "overview.html", "headline.txt", "summary.json"  # the part "summary"
# JSON inputs: the command that writes each, and keys that it must have
RESULTS = {
    "simulation": ("simulate", {"methods", "gain", "schedules", "settings", "made_from"}),
    "alignment": ("align", {"reward", "steps", "drafts", "levels", "level_versions", "made_from"}),
    "level": ("finetune", {"level", "kept", "version"}),
    "comparison": ("compare-search", {"rows", "differing", "compared"}),
    "schedule": ("fit-schedule", {"schedule", "gain", "settings"}),
}


def make_part(part: str, paths: Mapping[str, Sequence[str]], out: str, *, prompts: int, candidates: int) -> dict:
    """Make one of PARTS and write it to `out`: a PNG or a page, or for "summary" a folder. Returns its figures, if any.

    paths: the files of each option: those of RESULTS, "tensor", "images", and "figure" for the first page. prompts,
    candidates: the prompts of the gallery, and its budget in candidates of best-of-N. Raises BadInput for files that
    are missing, foreign, or do not belong together.
    """
    wanted = "folder" if part == "summary" else "file"
    if Path(out).exists() and Path(out).is_dir() != (wanted == "folder"):
        raise BadInput(f"--out: {out}: --part {part} writes a {wanted}; name another")
    results = [path for option in RESULTS for path in paths.get(option, ())]
    names = ", ".join(results[:3]) + (", …" if results[3:] else "")
    with foreign_content(names, "what ttsnap wrote", "make them again with this version"):
        return PARTS[part](Inputs(part, paths, out, prompts, candidates))


@dataclass(frozen=True)
class Inputs:
    """The arguments of `make_part`."""

    part: str
    paths: Mapping[str, Sequence[str]]
    out: str
    prompts: int
    candidates: int

    def some(self, option: str) -> Sequence[str]:
        """The files of a required option."""
        if not self.paths.get(option):
            raise BadInput(f"--{option}: --part {self.part} needs it; see `ttsnap report --help`")
        return self.paths[option]

    def every(self, option: str) -> list[dict]:
        """The contents of all files of an option."""
        return [_read(path, option) for path in self.paths.get(option, ())]

    def only(self, option: str) -> dict:
        """The content of an option's only file."""
        if len(paths := self.some(option)) > 1:
            raise BadInput(f"--{option}: --part {self.part} takes one file, not {len(paths)}")
        return _read(paths[0], option)

    def tensors(self) -> list[RewardTensor]:
        return [read_tensor(path) for path in self.some("tensor")]

    def first(self, option: str) -> str:
        """The path of an option's first file."""
        return self.paths[option][0]

    def write_page(self, template: str, values: dict) -> dict:
        write_text(self.out, render(template, **values))
        return {}


def _read(path: str, option: str) -> dict:
    command, keys = RESULTS[option]
    content = read_json(path)
    if not isinstance(content, dict) or not keys <= set(content):
        raise BadInput(f"{path}: not what `ttsnap {command} --json` writes; --{option} takes that")
    return content


def _check_made_from(path: str, result: dict, other: str, known: list[dict]) -> None:
    """Raise BadInput unless all sources of a result are `known`."""
    for source in result["made_from"]:
        if source not in known:
            raise BadInput(
                f"{path}: made from another tensor of {source['reward']} than {other}; run it again on that one"
            )


def _check_same_model(path: str, tensor: RewardTensor, other: str, reference: RewardTensor) -> None:
    """Raise BadInput unless a run's images are made as those of its reference run; their seeds may differ."""
    ours, theirs = images_record(tensor.attrs), images_record(reference.attrs)
    again = "give the tensors of one model and one way to sample it"
    check_same(path, ours, other, theirs, again, apart_from=("seed", "dtype", "model", "drafts"), known=True)


def _budget(inputs: Inputs) -> dict:
    from ttsnap.report.figures import reward_against_budget

    reward_against_budget(inputs.only("simulation"), inputs.out)
    return {}


def _tau(inputs: Inputs) -> dict:
    from ttsnap.report.figures import tau_per_step

    looks, alignment = [], inputs.only("alignment")
    if inputs.paths.get("simulation"):
        simulation = inputs.only("simulation")
        _check_made_from(inputs.first("alignment"), alignment, inputs.first("simulation"), simulation["made_from"])
        looks = Schedule.from_json(simulation["schedules"]["ttsnap"]).steps
    tau_per_step(alignment, inputs.out, looks)
    return {}


def _looks_shown(alignment: dict, simulations: list[dict]) -> dict | None:
    """The figure and the table of what looks cost and are worth, those of TTSnap's schedule marked."""
    from ttsnap.report.figures import looks_by_cost, png

    chosen = [s["schedules"]["ttsnap"] for s in simulations if search_name(s) == alignment["reward"]]
    table = looks_table(alignment, Schedule.from_json(chosen[0]).looks if chosen else ())
    return table and table | {"figure": png_uri(png(looks_by_cost(table)))}


def _looks(inputs: Inputs) -> dict:
    alignment, simulation = inputs.only("alignment"), inputs.only("simulation")
    _check_made_from(inputs.first("alignment"), alignment, inputs.first("simulation"), simulation["made_from"])
    shown = _looks_shown(alignment, [simulation])
    if shown is None:
        raise BadInput(f"{inputs.first('alignment')}: its tensor has no costs; import values with --denoise-cost")
    about = {key: alignment[key] for key in ("prompts", "candidates", "drafts")}
    return inputs.write_page("looks", {"looks": shown, **about})


def _cost(inputs: Inputs) -> dict:
    tensors, simulation = inputs.tensors(), inputs.only("simulation")
    _check_made_from(inputs.first("simulation"), simulation, inputs.first("tensor"), sources(tensors))
    return inputs.write_page("cost", cost_table(simulation, tensors))


def _levels(inputs: Inputs) -> dict:
    levels, alignment = inputs.every("level"), inputs.only("alignment")
    versions = alignment["level_versions"].split(",")
    for path, level in zip(inputs.paths.get("level", ()), levels, strict=True):
        version = f"{level['level']}:{level['version']}"
        if level["level"] in alignment["levels"] and version not in versions:
            raise BadInput(f"{path}: of other weights than {inputs.first('alignment')} was made with")
    return inputs.write_page("levels", levels_table(alignment, levels))


def _gain(inputs: Inputs) -> dict:
    fits, simulation = inputs.every("schedule"), inputs.only("simulation")
    for path, fit in zip(inputs.paths.get("schedule", ()), fits, strict=True):
        if fit["schedule"] != simulation["schedules"].get(fitted_method(fit)):
            raise BadInput(f"{path}: not the schedule that {inputs.first('simulation')} was made with")
    return inputs.write_page("gain", gain_table(simulation, fits))


def _gallery(inputs: Inputs) -> dict:
    shards = [read_shard(path) for path in inputs.some("images")]
    for drafts in (False, True):
        if alike := [shard.path for shard in shards if shard.of_drafts == drafts]:
            read_shards(alike)  # raises unless they were made alike
    path = inputs.some("tensor")[0]
    tensor, simulation = read_tensor(path), inputs.only("simulation")
    _check_made_from(inputs.first("simulation"), simulation, path, sources([tensor]))
    shown = gallery(tensor, shards, simulation, inputs.prompts, inputs.candidates)
    inputs.write_page("gallery", shown)
    return shown["outcome"]


def _search(inputs: Inputs) -> dict:
    from ttsnap.report.searches import search_page

    return inputs.write_page("search", search_page(inputs.only("comparison")))


def _summary(inputs: Inputs) -> dict:
    tensors = inputs.tensors()
    inputs.some("simulation")
    results = {option: inputs.every(option) for option in ("simulation", "alignment")}
    check_tensors(tensors)
    for option, found in results.items():
        for path, result in zip(inputs.paths.get(option, ()), found, strict=True):
            _check_made_from(path, result, "the tensors given", sources(tensors))
    own = [read_tensor(path) for path in inputs.paths.get("own", ())]
    for path, tensor in zip(inputs.paths.get("own", ()), own, strict=True):
        _check_same_model(path, tensor, inputs.first("tensor"), tensors[0])
    summary = summarise_run(tensors, results["simulation"], results["alignment"], own)
    looks = _looks_shown(results["alignment"][0], results["simulation"]) if results["alignment"] else None
    verdicts = {name: verdict(search) for name, search in summary["searches"].items()}
    figure = None
    for path in inputs.paths.get("figure", ()):
        with reading(path, "cannot be read"):
            figure = png_uri(Path(path).read_bytes())
    folder = Path(inputs.out)
    shown = {"bought": with_and_without(summary), "verdicts": verdicts, "figure": figure, "looks": looks}
    write_text(folder / OVERVIEW, render("overview", **summary, **shown))
    write_text(folder / HEADLINE, "\n".join(headline(summary)) + "\n")
    write_json(folder / SUMMARY, summary)
    return summary


PARTS = {
    "budget": _budget,
    "tau": _tau,
    "looks": _looks,
    "cost": _cost,
    "levels": _levels,
    "gain": _gain,
    "gallery": _gallery,
    "search": _search,
    "summary": _summary,
}
