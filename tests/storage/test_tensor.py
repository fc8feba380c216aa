"""The reward tensor's file, and the import of published values into it."""

import h5py
import numpy as np
import pytest
import xarray
from tensors import write_values

from ttsnap.cli import main
from ttsnap.errors import BadInput
from ttsnap.storage.files import read_json
from ttsnap.storage.tensor import RewardTensor, read_tensor, write_tensor


def example(prompts=3, candidates=4, steps=5, levels=3) -> RewardTensor:
    rng = np.random.default_rng(0)
    base = rng.normal(size=(prompts, candidates, steps))
    noise_aware = base + rng.normal(size=base.shape)
    noise_aware[:, :, levels:] = np.nan
    texts = ["a 🐈 on a mat ", 'say "hi"', "猫", *map(str, range(prompts))][:prompts]
    attrs = {"reward": "clip", "denoise_tflop": 9.9, "seed": 3, "versions": {"clip": "1.0"}}
    return RewardTensor(base, noise_aware, base > 0, texts, np.arange(candidates) + 7, attrs)


def test_round_trip(tmp_path):
    tensor, path = example(), tmp_path / "r.h5"
    write_tensor(path, tensor)
    back = read_tensor(path)
    for name in ("base", "noise_aware", "accepted", "candidates"):
        np.testing.assert_array_equal(getattr(back, name), getattr(tensor, name))
    assert back.prompts == tensor.prompts
    assert tensor.attrs.items() <= back.attrs.items()
    assert back.levels == back.attrs["levels"] == [0, 1, 2]
    assert back.read == [0, 1, 2, 3, 4]


def test_rebuilding_gives_the_same_bytes(tmp_path):
    write_tensor(tmp_path / "a.h5", example())
    write_tensor(tmp_path / "b.h5", read_tensor(tmp_path / "a.h5"))
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_xarray_shows_named_dimensions(tmp_path):
    tensor = example()
    write_tensor(tmp_path / "r.h5", tensor)
    with xarray.open_dataset(tmp_path / "r.h5", engine="h5netcdf") as dataset:
        assert dict(dataset.sizes) == {"prompt": 3, "candidate": 4, "step": 5}
        assert set(dataset) == {"base", "noise_aware", "accepted"}
        assert dataset["base"].dims == ("prompt", "candidate", "step")
        assert list(dataset["prompt"].values) == tensor.prompts
        assert dataset["candidate"].values.tolist() == [7, 8, 9, 10]
        picked = dataset["base"].sel(prompt="猫", candidate=8, step=4).item()
        assert picked == tensor.base[2, 1, 4]


def test_a_tensor_without_noise_aware_reward(tmp_path):
    tensor = RewardTensor(example().base)
    write_tensor(tmp_path / "r.h5", tensor)
    back = read_tensor(tmp_path / "r.h5")
    assert back.noise_aware is None and back.accepted is None and back.levels == []
    assert back.select(slice(1, 3)).prompts == ["prompt 1", "prompt 2"]


def edited(change, mode="a"):
    def edit(path):
        with h5py.File(path, mode) as file:
            change(file)

    return edit


SPOILS = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-200]),
    "not HDF5": lambda path: path.write_text("prompt,reward\n"),
    "foreign": edited(lambda file: file.create_dataset("base", data=np.zeros((1, 1, 1))), mode="w"),
    "another version": edited(lambda file: file.attrs.update(schema_version=99)),
    "without base": edited(lambda file: file.pop("base")),
    "missing": lambda path: path.unlink(),
}


@pytest.mark.parametrize("spoil", SPOILS)
def test_a_file_that_is_not_a_tensor_is_refused_in_one_line(tmp_path, spoil):
    path = tmp_path / "r.h5"
    write_tensor(path, example())
    SPOILS[spoil](path)
    with pytest.raises(BadInput, match="r.h5") as error:
        read_tensor(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["base", "noise_aware"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_not_finite_names_the_prompt(tmp_path, name, value):
    path = tmp_path / "r.h5"
    write_tensor(path, example())
    edited(lambda file: file[name].__setitem__((1, 2, 0), value))(path)
    with pytest.raises(BadInput, match=f"r.h5: {name} is .* prompt 1, candidate 2, step 0"):
        read_tensor(path)
    spoilt = example()
    getattr(spoilt, name)[1, 2, 0] = value
    with pytest.raises(BadInput, match="prompt 1"):
        write_tensor(tmp_path / "new.h5", spoilt)
    assert not (tmp_path / "new.h5").exists()


BASE = example().base
WRONG = {
    "noise_aware has shape": RewardTensor(BASE, BASE[:, :2]),
    "2 prompts for 3": RewardTensor(BASE, prompts=["a", "b"]),
    "shape .3, 0, 5., not prompts × candidates × steps": RewardTensor(BASE[:, :0]),
    "shape .4, 5., not prompts × candidates × steps": RewardTensor(BASE[0]),
    "no value at the last step": RewardTensor(np.where(np.arange(5) == 4, np.nan, BASE)),
}


@pytest.mark.parametrize("says", WRONG)
def test_wrong_shapes_and_a_missing_final_reward_are_refused(tmp_path, says):
    with pytest.raises(BadInput, match=says):
        write_tensor(tmp_path / "r.h5", WRONG[says])


def import_values(tmp_path, *options):
    return main(
        ["import-values", "--base", str(tmp_path / "flux_imr_val_base"), *options]
        + ["--noise-aware", str(tmp_path / "flux_imr_val_naft"), "--out", str(tmp_path / "r.h5")]
    )


@pytest.fixture
def published(tmp_path):
    tensor = example()
    tensor.base[:, :, 1] = np.nan
    write_values(tmp_path / "flux_imr_val_base", tensor.base.astype(float))
    write_values(tmp_path / "flux_imr_val_naft", tensor.noise_aware.astype(float))
    return tensor


def test_import_values(tmp_path, published):
    assert import_values(tmp_path, "--json", str(tmp_path / "r.json")) == 0
    tensor = read_tensor(tmp_path / "r.h5")
    np.testing.assert_array_equal(tensor.base, published.base)
    np.testing.assert_array_equal(tensor.noise_aware, published.noise_aware)
    assert tensor.attrs["reward"] == "imagereward" and tensor.attrs["model"] == "flux"
    result = read_json(tmp_path / "r.json")
    assert result["base_steps"] == [0, 2, 3, 4] and result["levels"] == [0, 1, 2]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0: [1, 2, 3, 4]\n1: [1, 2, 3, .nan]\n2: [1, 2, 3, 4]", "prompt 1, candidate 3 is nan"),
        ("0: [1, 2, 3, 4]\n1: [1, 2, 3]\n2: [1, 2, 3, 4]", "prompt 1 has no list of 4"),
        ("0: [1, 2, 3, 4]\n1: [1, 2, 3, x]\n2: [1, 2, 3, 4]", "prompt 1, candidate 3: not a"),
        ("0: [1, 2, 3, 4]\n2: [1, 2, 3, 4]", "keys are not the prompts"),
        ("0: [1, 2", "not a YAML file"),
    ],
)
def test_import_of_broken_values_is_one_line(tmp_path, published, capsys, text, says):
    (tmp_path / "flux_imr_val_naft" / "p3_i4_s02.yaml").write_text(text)
    assert import_values(tmp_path) == 2
    error = capsys.readouterr().err
    assert says in error and "p3_i4_s02.yaml" in error and error.count("\n") == 1
    assert not (tmp_path / "r.h5").exists()


def test_import_of_numbers_as_other_programs_write_them(tmp_path, published):
    text = "0: [1, -2e-05, 3.5, 4]\n1: [1e3, .5, 3, 4]\n2: [1, 2, 3, 4]"
    (tmp_path / "flux_imr_val_naft" / "p3_i4_s02.yaml").write_text(text)
    assert import_values(tmp_path) == 0
    values = read_tensor(tmp_path / "r.h5").noise_aware[:2, :2, 2]
    np.testing.assert_array_equal(values, np.array([[1, -2e-5], [1e3, 0.5]], np.float32))


def test_import_without_the_final_step(tmp_path, published, capsys):
    assert import_values(tmp_path, "--num-steps", "9") == 2
    assert "final step 8" in capsys.readouterr().err
