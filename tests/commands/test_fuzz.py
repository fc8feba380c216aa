"""Broken files: each is opened, or refused in one line that names it. Some thousand mutations of good ones."""

import json
import multiprocessing
import shutil
from pathlib import Path

import good_files
import mutations
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from safetensors import safe_open
from safetensors.torch import save_file
from small_run import ROOT, small_config, write_inputs

from ttsnap.cli import main
from ttsnap.commands.console import TRACEBACK
from ttsnap.errors import TtsnapError
from ttsnap.rewards.levels import save_level
from ttsnap.search.folder import Folder, file_name
from ttsnap.settings.config import load_config
from ttsnap.sft.classifier import Classifier, load_classifier, save_classifier
from ttsnap.sft.gan import load_gan
from ttsnap.sft.records import read_assigned, read_blocks
from ttsnap.sft.targets import pair_targets
from ttsnap.storage.checkpoints import read_about
from ttsnap.storage.files import write_json, write_text
from ttsnap.storage.image_shards import read_shard
from ttsnap.storage.prompts import read_prompts
from ttsnap.storage.published import read_values
from ttsnap.storage.schedules import read_schedule
from ttsnap.storage.scores import read_scores
from ttsnap.storage.tensor import read_tensor
from ttsnap.storage.tree import find_tree

pytestmark = pytest.mark.long


def read_images(path: Path) -> None:
    shard = read_shard(path)
    for step in shard.looks[:2]:
        shard.images(step)


def read_picture(path: Path) -> None:
    """Read it as `assign` does, which goes on without a target that cannot be used."""
    from ttsnap.sft.targets import BadTarget, read_image

    try:
        assert read_image(path, (3, 8, 8)).shape == (8, 8, 3)
    except BadTarget as error:
        raise TtsnapError(str(error)) from None


def read_tree(path: Path) -> None:
    find_tree(path.parents[2]).images(0)


def read_pairs(path: Path) -> None:
    for target in pair_targets(path):
        if hasattr(target, "load"):
            assert target.condition
        else:
            assert target.error and "\n" not in target.error


def command(*words: str):
    """A reader that runs a command with the file in place of FILE, and one beside it for @NAME."""

    def read(path: Path) -> None:
        names = [str(path) if word == "FILE" else word for word in words]
        names = [str(path.parent / word[1:]) if word[0] == "@" else word for word in names]
        run(*names, "--out", str(path.with_name("out")))

    return read


def run(*words: str) -> None:
    assert main(list(words)) in (0, 1, 2)


def compare(folder: Path) -> None:
    run("compare-search", str(folder), "--tensor", str(folder.parent / "tensor.h5"), "--draws", "2")


def make_search(folder: Path) -> None:
    """The files of a search of the good prompts that other commands read."""
    settings = {
        "method": "ttsnap", "budget": 2.0, "budget_unit": "candidates", "seed": 0, "sampler": {},
        "first_candidate": 0, "rewards": [{"name": "pickscore"}], "schedule": {"steps": [2], "keep": [0.5]},
    }  # fmt: skip
    pick = {"candidate": 0, "rewards": {"pickscore": 0.5}, "spent_tflop": 0.1}
    rows = [{"prompt": prompt, **pick} for prompt in good_files.PROMPTS]
    seconds = {"prompts": [{"total": 1.0, "cpu": 0.5} for _ in rows]}
    summary = {"settings": settings, "candidates": 2, "budget_tflop": 0.1, "notes": [], "prompts": rows}  # fmt: skip
    write_json(folder / "summary.json", summary)
    write_json(folder / "seconds.json", seconds)
    name = file_name("a red circle")
    for kind in ("images", "strips"):
        write_text(folder / kind / f"{name}.png", "")
    write_json(folder / "seconds" / f"{name}.json", seconds["prompts"][0])
    write_json(folder / "traces" / f"{name}.json", {**rows[0], "settings": "s"})


LOOK = "--steps 2 --keep 0.5 --budgets 1,2 --budgets-in candidates --draws 2".split()
SIMULATION = ["--simulation", "@simulation.json"]
TENSOR = ["--tensor", "@tensor.h5"]
# name: file, its readers, how its structure is changed.
READERS = {
    "images.h5": ("images.h5", [read_images], "hdf5"),
    "base.h5": ("base.h5", [read_scores], "hdf5"),
    "tensor.h5": (
        "tensor.h5",
        [
            read_tensor,
            lambda p: run("align", str(p)),
            lambda p: run("simulate", str(p), *LOOK),
        ],
        "hdf5",
    ),
    "summary": ("found/summary.json", [lambda p: compare(p.parent)], "json"),
    "seconds": ("found/seconds.json", [lambda p: compare(p.parent)], "json"),
    "trace": (
        "found/traces/a-red-circle-a1e4a280d2.json",
        [lambda p: Folder(p.parents[1]).finished("a red circle", "s")],
        "json",
    ),
    "level.safetensors": ("level.safetensors", [read_about], "safetensors"),
    "generator.safetensors": ("gan/generator.safetensors", [lambda p: load_gan(p.parent)], "safetensors"),
    "config.json": ("gan/config.json", [lambda p: load_gan(p.parent)], "json"),
    "classifier": ("classifier.safetensors", [load_classifier], "safetensors"),
    "manifest.jsonl": ("assigned/manifest.jsonl", [lambda p: read_assigned([p])], "json"),
    "block": (
        "assigned/blocks/000000.safetensors",
        [lambda p: read_blocks(p.parents[1]), lambda p: read_assigned([p.parents[1] / "manifest.jsonl"])],
        "safetensors",
    ),
    "png": ("picture.png", [read_picture], None),
    "jpeg": ("picture.jpg", [read_picture], None),
    "tiff": ("picture.tif", [read_picture], None),
    "tree": ("tree/p0000/id000/s00.png", [read_tree], None),
    "txt": ("prompts.txt", [read_prompts], None),
    "json": ("prompts.json", [read_prompts], "json"),
    "jsonl": ("prompts.jsonl", [read_prompts], "json"),
    "csv": ("prompts.csv", [read_prompts], None),
    "pairs": ("pairs.jsonl", [read_pairs], "json"),
    "values": ("values/p2_i3_s5.yaml", [lambda p: read_values(p.parent)], None),
    "config": ("config.yaml", [load_config], "yaml"),
    "schedule": (
        "schedule.json",
        [
            lambda p: read_schedule(str(p)).check(good_files.STEPS),
            command("report", "--part", "gain", *SIMULATION, "--schedule", "FILE"),
        ],
        "json",
    ),
    "simulation": (
        "simulation.json",
        [
            command("report", "--part", "gain", "--simulation", "FILE"),
            command("report", "--part", "cost", "--simulation", "FILE", *TENSOR),
            command("report", "--part", "gallery", "--simulation", "FILE", *TENSOR, "--images", "@images.h5"),
            command("report", "--part", "summary", "--simulation", "FILE", *TENSOR),
        ],
        "json",
    ),
    "alignment": (
        "alignment.json",
        [
            command("report", "--part", "levels", "--alignment", "FILE", "--level", "@level.json"),
            command("report", "--part", "summary", *SIMULATION, *TENSOR, "--alignment", "FILE"),
        ],
        "json",
    ),
    "level": (
        "level.json",
        [command("report", "--part", "levels", "--alignment", "@alignment.json", "--level", "FILE")],
        "json",
    ),
    "sft": ("sft.json", [command("report-sft", "--part", "table", "--comparison", "FILE")], "json"),
}  # fmt: skip


@pytest.fixture(scope="module")
def good(tmp_path_factory, gan, manifest):
    folder = tmp_path_factory.mktemp("good")
    good_files.make(folder)
    write_inputs(folder, small_config())
    shutil.copy(ROOT / "config.yaml", folder / "config.yaml")
    make_search(folder / "found")
    shutil.copytree(gan, folder / "gan")
    shutil.copytree(Path(manifest).parent, folder / "assigned")
    torch.manual_seed(0)
    save_classifier(Classifier(1, 10), folder / "classifier.safetensors")
    about = {"level": 2, "lora": None, "version": "v", "reward": {"kind": "x"}, "images": {"steps": 6}}
    save_level(folder / "level.safetensors", {"weight": torch.zeros(2, 3)}, about)
    split = {"psnr": 20.0, "samples": 3}
    fresh = {"samples": 9, "feature_distance": 1.0}
    model = {"way": "base", "cycle": 0, "seed": 0, "train": split, "test": split, "drift": 0.0}
    (folder / "sft.json").write_text(json.dumps({**model, "fresh": fresh}))
    return folder


def refused_or_read(read, path: Path) -> str:
    """ "" if a reader opens the file or refuses it in one line; else what happens."""
    try:
        read(path)
    except TtsnapError as error:
        line = str(error)
        return "" if line and "\n" not in line and len(line) < 2000 else f"several lines: {line!r}"
    except Exception as error:
        import traceback

        return "".join(traceback.format_exception(error)[-4:])
    return ""


class Child:
    """A process for the reading, as the HDF5 library can crash on broken files."""

    def __init__(self, readers):
        self.readers, self.process, self.crashes = readers, None, 0

    def ask(self, number: int, path: Path, seconds: float = 30) -> str:
        """`refused_or_read` of one of the readers."""
        if self.process is None:
            context = multiprocessing.get_context("fork")
            self.pipe, end = context.Pipe()
            self.process = context.Process(target=self._work, args=(end,), daemon=True)
            self.process.start()
            end.close()
        self.pipe.send((number, path))
        try:
            if self.pipe.poll(seconds):
                return self.pipe.recv()
            found = "hangs"
        except EOFError:
            self.crashes, found = self.crashes + 1, "crashes"
        self.process.kill()
        self.process.join()
        self.process = None
        return found

    def _work(self, pipe) -> None:
        self.pipe.close()
        while True:
            number, path = pipe.recv()
            pipe.send(refused_or_read(self.readers[number], path))


def mutate_safetensors(path: Path, changes) -> None:
    """Tensors and metadata of a safetensors file, changed as JSON would be."""
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}
        about = json.loads((file.metadata() or {}).get("ttsnap", "{}"))
    for kind, where, new in changes:
        name = sorted(tensors)[int(where * len(tensors))] if tensors else ""
        if where < 0.5 or not tensors:
            about = mutations.mutate_value(about, [(kind, 2 * where % 1, new)])
        elif kind == "drop":
            del tensors[name]
        elif kind == "set":
            tensors[name] = tensors[name].to(torch.float64).clone()
        elif kind == "empty":
            tensors[name] = torch.zeros(0)
        else:
            tensors[name] = tensors[name][None].clone()
    save_file(tensors, path, metadata={"ttsnap": json.dumps(about)})


def mutate_yaml(data: bytes, changes) -> bytes:
    import yaml

    value = mutations.mutate_value(yaml.safe_load(data), changes)
    return yaml.safe_dump(value).encode()


@pytest.mark.parametrize("name", READERS)
def test_a_broken_file_is_opened_or_refused(name, good, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(TRACEBACK, "1")  # an error without a message of its own is raised
    file, readers, structure = READERS[name]
    folder = Path(shutil.copytree(good, tmp_path / "broken"))
    path, data = folder / file, (good / file).read_bytes()
    child = Child(readers)
    tried = []

    def check(change) -> None:
        tried.append(change)
        try:
            change(path)
            for number, read in enumerate(readers):
                apart = structure == "hdf5"
                found = child.ask(number, path) if apart else refused_or_read(read, path)
                assert not found, found
        finally:
            path.write_bytes(data)

    quick = settings(
        derandomize=True, database=None, deadline=None, max_examples=100, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip

    @quick
    @given(mutations.BYTE_CHANGES)
    def bytes_changed(changes):
        check(lambda path: path.write_bytes(mutations.mutate_bytes(data, changes)))

    @quick
    @given(mutations.STRUCTURE_CHANGES)
    def structure_changed(changes):
        files = {"hdf5": mutations.mutate_hdf5, "safetensors": mutate_safetensors}
        texts = {"json": mutations.mutate_json, "yaml": mutate_yaml}
        if structure in files:
            check(lambda path: files[structure](path, changes))
        else:
            check(lambda path: path.write_bytes(texts[structure](data, changes)))

    bytes_changed()
    if structure:
        structure_changed()
    assert len(tried) >= 50 * (1 + bool(structure))
    print(f"{name}: {len(tried)} mutations, {child.crashes} crashes")
