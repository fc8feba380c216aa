"""The reward tensor's file with drafts, and that nothing of them is in a file without."""

import json

import h5py
import numpy as np
import pytest
import xarray

from ttsnap.errors import BadInput
from ttsnap.storage.costs import costs_of
from ttsnap.storage.tensor import RewardTensor, check_tensors, read_tensor, write_tensor

DRAFTS = {"few": {"model": "m", "steps": 5, "tflop": 2.5}, "onestep": {"model": "n", "steps": 1, "tflop": 0.5}}


def example(drafts=("few", "onestep"), prompts=3, candidates=4, steps=5) -> RewardTensor:
    """Base rewards of all looks; noise-aware ones of the first draft and of step 1."""
    rng, looks = np.random.default_rng(0), len(drafts) + steps
    base = rng.normal(size=(prompts, candidates, looks))
    aware = np.full_like(base, np.nan)
    for at in (*[0][: len(drafts)], len(drafts) + 1):
        aware[:, :, at] = rng.normal(size=base.shape[:2])
    attrs = {"reward": "clip", "denoise_tflop": 1.0, "look_tflop": 0.25}
    attrs |= {"drafts": {name: DRAFTS[name] for name in drafts}} if drafts else {}
    return RewardTensor(base, aware, base[:, :, len(drafts) :] > 0, attrs=attrs, drafts=list(drafts))


def test_round_trip(tmp_path):
    tensor, path = example(), tmp_path / "r.h5"
    write_tensor(path, tensor)
    back = read_tensor(path)
    for name in ("base", "noise_aware", "accepted", "candidates"):
        np.testing.assert_array_equal(getattr(back, name), getattr(tensor, name))
    assert back.drafts == ["few", "onestep"] and back.steps.tolist() == [0, 1, 2, 3, 4]
    assert back.looks == back.read == ["few", "onestep", 0, 1, 2, 3, 4]
    assert back.levels == ["few", 1] and back.places(["onestep", 1]) == [1, 3]
    assert back.attrs["drafts"] == DRAFTS and costs_of([back]).drafts == {"few": 2.5, "onestep": 0.5}


def test_rebuilding_gives_the_same_bytes(tmp_path):
    write_tensor(tmp_path / "a.h5", example())
    write_tensor(tmp_path / "b.h5", read_tensor(tmp_path / "a.h5"))
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_xarray_shows_drafts_as_a_dimension_of_their_own(tmp_path):
    tensor, path = example(), tmp_path / "r.h5"
    write_tensor(path, tensor)
    with xarray.open_dataset(path, engine="h5netcdf") as dataset:
        assert dict(dataset.sizes) == {"prompt": 3, "candidate": 4, "step": 5, "draft": 2}
        assert set(dataset) == {"base", "noise_aware", "accepted", "draft_base", "draft_noise_aware"}
        assert dataset["draft_base"].dims == ("prompt", "candidate", "draft")
        assert dataset["base"].dims == ("prompt", "candidate", "step")
        assert list(dataset["draft"].values) == ["few", "onestep"]
        assert dataset["draft_base"].sel(draft="onestep", candidate=3)[2].item() == tensor.base[2, 3, 1]
        np.testing.assert_array_equal(dataset["base"].values, tensor.base[:, :, 2:])
        assert np.isnan(dataset["draft_noise_aware"].sel(draft="onestep")).all()
        about = json.loads(dataset.attrs["drafts"])
        assert {name: draft["tflop"] for name, draft in about.items()} == {"few": 2.5, "onestep": 0.5}
        assert dataset.attrs["levels"] == 1


def test_a_file_without_drafts_does_not_mention_them(tmp_path):
    """Its layout is that of the version before there were drafts, whose files are read as before."""
    path = tmp_path / "r.h5"
    write_tensor(path, example(drafts=()))
    with h5py.File(path) as file:
        assert set(file) == {"prompt", "candidate", "step", "base", "noise_aware", "accepted"}
        assert set(file.attrs) == {"reward", "denoise_tflop", "look_tflop", "schema", "schema_version", "levels"}
        assert file.attrs["schema_version"] == 2 and file.attrs["levels"].tolist() == [1]
        assert file["base"].shape == (3, 4, 5)
    assert b"draft" not in path.read_bytes()
    assert read_tensor(path).drafts == [] and read_tensor(path).looks == [0, 1, 2, 3, 4]


def test_the_digest_tells_drafts_apart():
    other = example()
    other.drafts = ["few", "many"]
    assert len({example().digest(), example(drafts=()).digest(), other.digest()}) == 3


def test_selecting_prompts_keeps_the_drafts():
    some = example().select(slice(1, 3))
    assert some.drafts == ["few", "onestep"] and some.base.shape == (2, 4, 7) and some.accepted.shape == (2, 4, 5)


def edit(path, change) -> None:
    with h5py.File(path, "a") as file:
        change(file)


SPOILS = {
    "names .* drafts without their values": lambda file: file.pop("draft_base"),
    "base is nan at prompt 1, candidate 2, draft few": lambda file: file["draft_base"].__setitem__((1, 2, 0), np.nan),
    "noise_aware is inf at prompt 0, candidate 0, draft few": lambda file: file["draft_noise_aware"].__setitem__(
        (0, 0, 0), np.inf
    ),
}


@pytest.mark.parametrize("says", SPOILS)
def test_a_spoilt_file_is_refused_in_one_line(tmp_path, says):
    path = tmp_path / "r.h5"
    write_tensor(path, example())
    edit(path, SPOILS[says])
    with pytest.raises(BadInput, match=f"r.h5: {says}") as error:
        read_tensor(path)
    assert "\n" not in str(error.value)


def test_wrong_shapes_are_refused(tmp_path):
    alone = RewardTensor(example().base[:, :, :2], drafts=["few", "onestep"])
    with pytest.raises(BadInput, match="2 drafts in 2 looks leave no step"):
        write_tensor(tmp_path / "r.h5", alone)
    tensor = example()
    tensor.accepted = np.zeros(tensor.base.shape, np.uint8)
    with pytest.raises(BadInput, match="accepted has shape"):
        write_tensor(tmp_path / "r.h5", tensor)


def test_rewards_of_other_drafts_are_not_simulated_together():
    one, other = example(), example(drafts=("onestep", "few"))
    other.attrs["reward"] = "other"
    with pytest.raises(BadInput, match="not of the same prompts, candidates and looks"):
        check_tensors([one, other])
    other = example()
    other.attrs |= {"reward": "other", "drafts": DRAFTS | {"few": DRAFTS["few"] | {"steps": 4}}}
    with pytest.raises(BadInput, match="drafts few steps 4"):
        check_tensors([one, other])
