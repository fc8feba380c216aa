"""Models, rewards and data sets are identified by the content of their files, so that any edit in place shows."""

import os
import re
import shutil

import pytest

from ttsnap.cli import options_of
from ttsnap.models import model_version, resolve, weights_digest
from ttsnap.rewards.registry import identity as reward_identity
from ttsnap.settings.command_line import Parser, add_options
from ttsnap.storage import content as identity
from ttsnap.storage.code_digest import PACKAGE, module_file, sources


@pytest.fixture
def pipeline(tmp_path):
    """A copy of the embedded pipeline, with a LoRA in its folder."""
    folder = shutil.copytree(resolve("embedded:shapes-sdxl"), tmp_path / "mine")
    (folder / "my_lora.safetensors").write_bytes(b"adapters")
    return folder


READ = (
    "model_index.json", "scheduler/scheduler_config.json", "tokenizer/tokenizer_config.json",
    "unet/config.json", "unet/diffusion_pytorch_model.safetensors", "my_lora.safetensors",
    "vae/diffusion_pytorch_model.safetensors", "text_encoder/config.json",
)  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_an_edit_of_any_file_that_is_read_changes_the_version(pipeline, name):
    before = weights_digest(pipeline), model_version(pipeline)
    data = bytearray((pipeline / name).read_bytes())
    data[len(data) // 2] ^= 1
    status = (pipeline / name).stat()
    (pipeline / name).write_bytes(data)
    os.utime(pipeline / name, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    after = weights_digest(pipeline), model_version(pipeline)
    assert after[0] != before[0] and after[1] != before[1]


def test_location_time_and_notes_do_not_count(pipeline, tmp_path):
    version = model_version(pipeline)
    assert version == weights_digest(pipeline) and version.startswith("mine@") and len(version) == 17
    copy = shutil.copytree(pipeline, tmp_path / "other" / "mine", copy_function=shutil.copyfile)
    for name in ("README.md", "notes.txt", "sample.png", ".gitattributes", "LICENSE"):
        (copy / name).write_text("a note")
    (copy / "__pycache__").mkdir()
    (copy / "__pycache__/x.pyc").write_text("x")
    (copy / ".cache").mkdir()
    (copy / ".cache/lock").write_text("x")
    assert model_version(copy) == weights_digest(copy) == version


@pytest.mark.parametrize("change", ["added", "removed", "renamed", "linked"])
def test_the_set_of_files_counts(pipeline, tmp_path, change):
    before = model_version(pipeline)
    if change == "added":
        (pipeline / "tokenizer/merges.txt").write_text("a b\n")
    elif change == "removed":
        (pipeline / "my_lora.safetensors").unlink()
    elif change == "renamed":
        (pipeline / "my_lora.safetensors").rename(pipeline / "a_lora.safetensors")
    else:  # to a part that lies elsewhere and is edited there
        shutil.move(pipeline / "vae", tmp_path / "vae")
        (pipeline / "vae").symlink_to(tmp_path / "vae")
        assert model_version(pipeline) == before
        (tmp_path / "vae/config.json").write_text("{}")
    assert model_version(pipeline) != before


def test_a_large_file_is_sampled_and_its_time_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(identity, "WHOLE", 1000)
    monkeypatch.setattr(identity, "BLOCK", 10)
    monkeypatch.setattr(identity, "BLOCKS", 4)
    path, other = tmp_path / "a.safetensors", tmp_path / "b"
    path.write_bytes(bytes(2000))
    other.mkdir()
    shutil.copyfile(path, other / "a.safetensors")
    assert model_version(path) == model_version(other / "a.safetensors")
    before = model_version(path), weights_digest(path)
    data = bytearray(2000)
    data[333] = 1  # between two blocks
    path.write_bytes(data)
    os.utime(path, ns=(1, 1))
    assert model_version(path) == before[0] and weights_digest(path) != before[1]
    for place in (0, 1999):
        path.write_bytes(bytes(place) + b"x" + bytes(1999 - place))
        os.utime(path, ns=(place + 2, place + 2))
        assert model_version(path) != before[0]


@pytest.mark.parametrize("text", ["", "v2.1", "gelu", "no/such-model", "0.25", "a/b/c"])
def test_other_text_stands_for_itself(text, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert weights_digest(text) == model_version(text) == text


def test_a_hub_id_is_identified_by_the_commit_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    home = tmp_path / "models--some--model"
    (home / "refs").mkdir(parents=True)
    for commit in ("a" * 40, "b" * 40):
        (home / "snapshots" / commit).mkdir(parents=True)
        (home / "snapshots" / commit / "model_index.json").write_text("{}")
        (home / "refs/main").write_text(commit)
        assert weights_digest("some/model") == f"some/model@{commit[:12]}"


def test_a_downloaded_hub_id_is_identified_by_its_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "models/sdxl-turbo"
    folder.mkdir(parents=True)
    (folder / "model_index.json").write_text("{}")
    before = weights_digest("stabilityai/sdxl-turbo")
    assert before == weights_digest("models/sdxl-turbo") and before.startswith("sdxl-turbo@")
    (folder / "model_index.json").write_text("{ }")
    assert weights_digest("stabilityai/sdxl-turbo") != before


@pytest.mark.parametrize("name", ["vocab.json", "tokenizer.json", "merges.txt", "config.json", "head"])
def test_the_identity_of_a_reward_covers_its_files_and_options(tmp_path, name):
    folder = shutil.copytree(resolve("embedded:shapes-clip"), tmp_path / "clip")
    head = shutil.copy(resolve("embedded:shapes-aesthetic/head.safetensors"), tmp_path / "h.safetensors")
    options = {"path": str(folder), "head": str(head)}
    before = reward_identity("aesthetic", options)
    assert before["activation"] == "auto"  # a default
    path = tmp_path / "h.safetensors" if name == "head" else folder / name
    path.write_bytes((path.read_bytes() if path.exists() else b"") + b" ")
    assert reward_identity("aesthetic", options) != before
    assert reward_identity("aesthetic", options | {"activation": "relu"}) != before


def test_the_identity_of_a_reward_covers_its_default_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models/ImageReward").mkdir(parents=True)
    found = []
    for text in ("[UNK]", "[PAD]"):
        (tmp_path / "models/ImageReward/vocab.txt").write_text(text)
        found.append(reward_identity("imagereward", {})["path"])
    assert found[0] != found[1] and found[0].startswith("ImageReward@")


def test_versions_of_rewards_name_every_file(tmp_path):
    from ttsnap.rewards.base import load_reward

    head = shutil.copy(resolve("embedded:shapes-aesthetic/head.safetensors"), tmp_path / "h.safetensors")
    found = load_reward("aesthetic", path="embedded:shapes-clip", head=str(head)).version
    assert found == f"{model_version(resolve('embedded:shapes-clip'))}+{model_version(head)}"


def test_the_version_of_a_gan_covers_its_weights_but_not_its_figures(gan, tmp_path):
    from ttsnap.sft.generators import load_generator

    folder = shutil.copytree(gan, tmp_path / "gan")
    before = load_generator(str(folder)).version
    (folder / "figures.json").write_text('{"seconds": 3}')
    assert load_generator(str(folder)).version == before
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(text + "\n")
    assert load_generator(str(folder)).version != before


def test_code_follows_relative_imports_and_packages(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = {
        "mine/__init__.py": "from . import setup",
        "mine/setup.py": "",
        "mine/deep/__init__.py": "",
        "mine/deep/score.py": "from .help import f\nfrom ..scale import S\nfrom .. import last",
        "mine/deep/help.py": "", "mine/scale.py": "", "mine/last.py": "",
        "help.py": "", "scale.py": "", "notes.py": "",
    }  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = {path.relative_to(tmp_path).as_posix() for path in sources("mine.deep.score")}
    assert found == {name for name in files if name.startswith("mine/")}


@pytest.mark.parametrize(
    ("command", "room"),
    [
        ("assign", "sft"),
        ("sft", "sft"),
        ("search", "search"),
        ("optimize-noise", "noise"),
        ("generate", "samplers"),
        ("finetune", "finetune"),
    ],
)
def test_commands_that_reuse_results_compare_what_made_them(command, room):
    """Each command that reuses the results of an earlier run compares the code and files behind them."""
    module = f"ttsnap.commands.{command.replace('-', '_')}"
    beside = (module_file(module), *(PACKAGE / room).glob("*.py"))
    text = "".join(path.read_text() for path in sources(module) if path in beside)
    assert re.search(r"\bcode\(", text), "the code"
    assert re.search(r"weights_digest\(|identity\(|made_from", text), "the files"
    parser = Parser()
    add_options(parser, options_of(command)[1])
    assert "--version" not in parser.format_help()
