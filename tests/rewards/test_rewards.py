"""The embedded rewards, the registry, and the files of images and scores."""

import h5py
import numpy as np
import pytest
import torch
from transformers import CLIPModel

from ttsnap.cli import main
from ttsnap.errors import BadInput
from ttsnap.models import resolve, weights_digest
from ttsnap.rewards.base import Reward, load_reward
from ttsnap.storage.image_shards import read_shard, write_shard
from ttsnap.storage.scores import Scores, join_scores, read_scores, write_scores

PATH = "embedded:shapes-clip"
HEAD = "embedded:shapes-aesthetic/head.safetensors"
PROMPTS = ["a red circle", "a blue square left of a green circle"]


@pytest.fixture(scope="module")
def pickscore():
    return load_reward("pickscore", path=PATH)


def test_pickscore_is_clip_as_published(pickscore):
    """exp(scale)·cos of CLIPModel's own outputs, from pixel values normalised by hand."""
    images = torch.rand(2, 3, 64, 64)
    clip = CLIPModel.from_pretrained(resolve(PATH), dtype=torch.float32).eval()
    tokens = pickscore.tokenizer(PROMPTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        out = clip(pixel_values=(images - 0.5) / 0.5, **tokens)
        expected = out.logits_per_image.diagonal()
        values = pickscore(images, PROMPTS)
    torch.testing.assert_close(values, expected, rtol=1e-4, atol=1e-4)


def test_any_text_can_be_scored(pickscore):
    values = pickscore(torch.rand(3, 3, 64, 64), ["x" * 10_000, "日本の猫 🐱", ""])
    assert torch.isfinite(values).all()


def test_aesthetic_reads_no_prompt():
    reward = load_reward("aesthetic", path=PATH, head=HEAD)
    images = torch.rand(2, 3, 64, 64)
    torch.testing.assert_close(reward(images, PROMPTS), reward(images, PROMPTS[::-1]))


class Brightness(Reward):
    """A user's reward, found by its import path."""

    image_size, mean, std, version = 64, (0.0,) * 3, (1.0,) * 3, "1"

    def __init__(self, scale: str = "1"):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(float(scale)))

    def score(self, pixels, prompts):
        return self.scale * pixels.mean((1, 2, 3))


def test_a_users_reward_by_import_path():
    reward = load_reward("test_rewards:Brightness", scale="2")
    torch.testing.assert_close(reward(torch.full((1, 3, 32, 32), 0.6), ["x"]), torch.tensor([1.2]))


@pytest.mark.parametrize(
    ("kind", "options", "says"),
    [
        ("pickscroe", {}, "unknown: use one of clip, aesthetic, hybrid, pickscore, imagereward, hpsv2"),
        ("nowhere:Class", {}, "cannot be imported"),
        ("pickscore", {"pth": "x"}, "does not take these options"),
        ("pickscore", {"path": "embedded:nothing"}, "there are"),
        ("pickscore", {"path": "/nonexistent"}, "no CLIP model at /nonexistent"),
    ],
)
def test_bad_rewards_are_named(kind, options, says):
    with pytest.raises(BadInput, match=says):
        load_reward(kind, **options)


def test_weights_are_digested_where_they_are_small():
    assert weights_digest(PATH) != weights_digest("embedded:shapes-sdxl")
    assert weights_digest("some/hub-model") == "some/hub-model"


def shard(folder, name="s.h5", steps=(0, 3)):
    images = np.random.default_rng(0).integers(0, 255, (2, 3, len(steps), 16, 16, 3), dtype=np.uint8)
    write_shard(folder / name, PROMPTS, list(steps), iter(images), {"steps": 4})
    return images


def test_shard_file_round_trip_and_bytes(tmp_path):
    images = shard(tmp_path)
    read = read_shard(tmp_path / "s.h5")
    assert (read.prompts, read.candidates, read.looks) == (PROMPTS, 3, [0, 3])
    np.testing.assert_array_equal(read.images(3), images[:, :, 1])
    np.testing.assert_array_equal(read.images(0, prompt=1), images[1, :, 0])
    shard(tmp_path, "again.h5")
    assert (tmp_path / "s.h5").read_bytes() == (tmp_path / "again.h5").read_bytes()
    with pytest.raises(BadInput, match="no images of step 1"):
        read.images(1)


def test_truncated_and_foreign_files_are_named(tmp_path, capsys):
    shard(tmp_path)
    whole = (tmp_path / "s.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "page.h5").write_text("<html>")
    for name in ("cut.h5", "page.h5", "none.h5"):
        words = ["score", str(tmp_path / name), "--out", str(tmp_path / "o.h5"), "--kind", "pickscore"]
        assert main([*words, "--option", f"path={PATH}"]) == 2
        error = capsys.readouterr().err
        assert name in error and error.count("\n") == 1
        assert not (tmp_path / "o.h5").exists()


def test_a_shard_that_opens_but_is_damaged_is_named(tmp_path):
    shard(tmp_path)
    with h5py.File(tmp_path / "s.h5") as file:
        chunk = file["images"].id.get_chunk_info(0)
    with (tmp_path / "s.h5").open("r+b") as file:
        file.seek(chunk.byte_offset + chunk.size // 2)
        file.write(b"\0\1\2\3")
    with pytest.raises(BadInput, match=r"s\.h5: the images of step 0 are damaged .*; delete it and run"):
        read_shard(tmp_path / "s.h5").images(0)


def test_a_failed_write_leaves_nothing(tmp_path):
    def rows():
        yield np.zeros((3, 1, 8, 8, 3), np.uint8)
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError):
        write_shard(tmp_path / "s.h5", PROMPTS, [0], rows(), {})
    assert list(tmp_path.iterdir()) == []


def test_a_nan_reward_is_an_error(tmp_path, capsys):
    shard(tmp_path)
    words = ["score", str(tmp_path / "s.h5"), "--out", str(tmp_path / "o.h5")]
    assert main([*words, "--kind", "test_rewards:Brightness", "--option", "scale=nan"]) == 1
    error = capsys.readouterr().err
    assert "nan" in error and "a red circle" in error and "candidate 0, step 0" in error
    assert not (tmp_path / "o.h5").exists()


def test_scores_of_other_settings_do_not_join(tmp_path):
    values = np.zeros((2, 3, 1), np.float32)
    paths = {name: tmp_path / f"{name}.h5" for name in "abc"}
    for (name, path), version in zip(paths.items(), "112", strict=True):
        about = {"kind": "base", "made_from": {"version": version}}
        write_scores(path, Scores(values, [3], PROMPTS, about, [name, f"{name}2"]))
    assert len(join_scores([paths["a"], paths["b"]], "base").prompts) == 4
    for names, kind, says in (
        ("ac", "base", "c.h5: made with made from version 2, .*a.h5 with 1"),
        ("aa", "base", "come 2 times"),
        ("a", "noise_aware", "expected values of noise-aware checkpoints"),
    ):
        with pytest.raises(BadInput, match=says):
            join_scores([paths[name] for name in names], kind)
    with pytest.raises(BadInput, match="not a score file"):
        shard(tmp_path)
        read_scores(tmp_path / "s.h5")
