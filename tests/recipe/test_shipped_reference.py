"""What is shipped of a reference run, taken from the small run of the workflow."""

from safetensors.torch import load_file
from small_run import ROOT

from ttsnap.finetune.alignment import align
from ttsnap.models import EMBEDDED
from ttsnap.rewards.base import load_reward
from ttsnap.rewards.levels import load_level
from ttsnap.settings.config import load_config
from ttsnap.storage.tensor import read_tensor, write_tensor

REWARDS = ("pickscore", "aesthetic")


def test_only_levels_that_read_clearly_better_are_shipped(copied, tmp_path):
    """Level 5 of one reward is as much better than the base as can be, level 2 as much worse."""
    from recipe.reference import ship

    path, models = copied / "results/tensors/validation.pickscore.h5", tmp_path / "models"
    tensor = read_tensor(path)
    for place, sign in zip(tensor.places([5, 2]), (1, -1), strict=True):
        tensor.noise_aware[:, :, place] = sign * tensor.base[:, :, -1]
        tensor.base[:, :, place] = -sign * tensor.base[:, :, -1]
    write_tensor(path, tensor)
    ship(copied / "results", models)
    for name in [f"{split}.{reward}.h5" for split in ("validation", "test") for reward in REWARDS]:
        made, given = read_tensor(copied / "results/tensors" / name), read_tensor(models / "shapes-reference" / name)
        assert (given.base == made.base).all() and given.prompts == made.prompts and 5 in given.levels
        assert (given.noise_aware[:, :, given.places([5])] == made.noise_aware[:, :, made.places([5])]).all()
        assert 2 not in given.levels and "2:" not in given.attrs["level_versions"]
    shipped = {path.name for path in (models / "shapes-levels").glob("pickscore.[0-9]*.safetensors")}
    assert shipped == {"pickscore.5.safetensors"}
    made, half = copied / "results/levels/pickscore/5.safetensors", models / "shapes-levels/pickscore.5.safetensors"
    assert half.stat().st_size < made.stat().st_size
    reward = load_reward("pickscore", path="embedded:shapes-clip")
    apart = {"version": ""}
    assert load_level(reward, half) | apart == load_level(reward, made) | apart
    made, half = load_file(made), load_file(half)
    assert all((half[name] == value.half()).all() for name, value in made.items()) and len(half) == len(made)
    lines = (models / "shapes-levels/README.md").read_text().splitlines()
    tested = align(read_tensor(copied / "results/tensors/test.pickscore.h5"))["steps"][5]
    (line,) = (line for line in lines if line.startswith("| pickscore | step 5 |"))
    assert line.endswith("| yes |") and f"| {tested['noise_aware']['tau']['value']:.3f} |" in line
    assert [line.endswith("| no |") for line in lines if line.startswith("| pickscore | step 2 |")] == [True]
    assert sum(line.startswith(f"| {reward} |") for line in lines for reward in REWARDS) == 6


def test_the_shipped_levels_are_those_that_the_shipped_tensors_speak_for():
    """By the validation prompts; the default finetunes just those further."""
    from recipe.reference import rows

    default = load_config(ROOT / "config.yaml")
    found = rows(read_tensor(EMBEDDED / "shapes-reference/validation.pickscore.h5"))
    clear = {str(level) for level, row in found.items() if row["tau_difference"]["low"] > 0}
    files = (EMBEDDED / "shapes-levels").glob("*.safetensors")
    assert {path.name for path in files} == {f"pickscore.{level}.safetensors" for level in clear}
    assert {str(level) for level in default.levels} == clear and list(default.rewards) == ["pickscore"]
