"""Scores of drafts beside those of steps: what joins to a tensor, and what is refused in one line."""

import itertools

import numpy as np
import pytest
import torch
from levels import level_about

from ttsnap.cli import main
from ttsnap.errors import BadInput
from ttsnap.rewards.base import Reward, load_reward
from ttsnap.rewards.levels import make_trainable, save_level
from ttsnap.storage.checkpoints import check_noise_levels
from ttsnap.storage.image_shards import write_shard
from ttsnap.storage.joined import join_tensor
from ttsnap.storage.scores import read_scores

PROMPTS = [["a red circle", "a blue square"], ["a green triangle"]]  # of two shards
MADE = {"model": "m", "steps": 4, "scheduler": "Euler", "seed": 0, "denoise_tflop": 1.0, "decode_tflop": 0.5}
DRAFTS = {"few": {"model": "m", "steps": 2, "tflop": 2.0}, "onestep": {"model": "n", "steps": 1, "tflop": 1.0}}
STEPS, CANDIDATES = [0, 1, 2, 3], 3
KIND = "test_draft_scores:Bright"


class Bright(Reward):
    """Mean brightness through a linear layer; cheap to open."""

    image_size, mean, std = 8, (0.0,) * 3, (1.0,) * 3

    def __init__(self):
        super().__init__()
        self.version, self.last = "bright@1", torch.nn.Linear(3, 1)
        with torch.no_grad():
            self.last.weight.fill_(0.5)
            self.last.bias.zero_()

    def score(self, pixels, prompts):
        return self.last(pixels.mean((2, 3)))[:, 0]


def shard(path, prompts, looks, pixels: int = 0, **changed) -> str:
    rng = np.random.default_rng([pixels, len(prompts), len(looks)])
    rows = rng.integers(0, 255, (len(prompts), CANDIDATES, len(looks), 8, 8, 3), dtype=np.uint8)
    drafts = {"drafts": {name: DRAFTS[name] for name in looks}} if isinstance(looks[0], str) else {}
    write_shard(path, prompts, looks, iter(rows), MADE | drafts | changed)
    return str(path)


def checkpoint(path, level, **made) -> str:
    reward = load_reward(KIND)
    parameters = {name: value + 0.1 for name, value in make_trainable(reward, None).items()}
    save_level(path, parameters, level_about(reward, level, **MADE | made))
    return str(path)


def score(images, out, *checkpoints, status: int = 0, command: str = "score") -> str:
    words = [word for path in checkpoints for word in ("--checkpoint", path)]
    assert main([command, images, "--out", str(out), "--kind", KIND, "--name", "bright", *words]) == status
    return str(out)


@pytest.fixture
def files(tmp_path):
    """{"base" or "aware": score files of both shards, of the steps and of the drafts}."""
    step, draft = checkpoint(tmp_path / "1.safetensors", 1), checkpoint(tmp_path / "few.safetensors", "few",
                                                                        drafts=DRAFTS)  # fmt: skip
    found = {"base": [], "aware": []}
    for number, prompts in enumerate(PROMPTS):
        for name, looks, level in (("steps", STEPS, step), ("drafts", list(DRAFTS), draft)):
            images = shard(tmp_path / f"{name}{number}.h5", prompts, looks)
            found["base"].append(score(images, tmp_path / f"{name}{number}.base.h5"))
            found["aware"].append(score(images, tmp_path / f"{name}{number}.aware.h5", level))
    return found


def test_files_of_steps_and_drafts_join_in_any_mix(files):
    """Shards in their order; files of drafts anywhere among those of steps."""
    one = join_tensor(files["base"], files["aware"])
    assert one.looks == ["few", "onestep", 0, 1, 2, 3] and one.levels == ["few", 1]
    assert one.prompts == [prompt for part in PROMPTS for prompt in part]
    assert one.attrs["drafts"] == DRAFTS and one.attrs["level_versions"] == "1:v1,few:vfew"
    for at, path in enumerate(files["base"]):
        scores, rows = read_scores(path), slice(0, 2) if at < 2 else slice(2, 3)
        np.testing.assert_allclose(one.base[rows][:, :, one.places(scores.looks)], scores.values, rtol=1e-6)
    for order in itertools.permutations(range(4)):
        of_drafts = [n % 2 for n in order]
        shards_in_order = all([n for n in order if n % 2 == kind] == [kind, kind + 2] for kind in (0, 1))
        if shards_in_order:
            assert sum(of_drafts) == 2
            mixed = join_tensor(*([files[kind][n] for n in order] for kind in ("base", "aware")))
            assert mixed.digest() == one.digest()


def test_drafts_may_have_base_or_noise_aware_rewards_alone(files):
    steps, drafts = files["base"][::2], files["base"][1::2]
    assert join_tensor(steps + drafts).noise_aware is None
    aware = join_tensor(steps, files["aware"][1::2])
    assert aware.looks == ["few", 0, 1, 2, 3] and aware.read == STEPS and aware.levels == ["few"]
    assert join_tensor(steps).drafts == []
    with pytest.raises(BadInput, match="is of drafts alone; give the base scores of the steps too"):
        join_tensor(drafts)


OTHER = {
    "seed": ({"seed": 1}, "made with seed 1"),
    "prompts": ({"prompts": PROMPTS[0][::-1]}, "is of other prompts"),
    "model": ({"model": "other"}, "made with model other"),
    "steps": ({"steps": 5}, "made with steps 5"),
}


@pytest.mark.parametrize("case", OTHER)
@pytest.mark.parametrize("kind", ["base", "aware"])
def test_scores_of_drafts_of_other_images_are_refused(files, tmp_path, kind, case):
    changed, says = OTHER[case]
    prompts = changed.get("prompts", PROMPTS[0])
    images = shard(tmp_path / "other.h5", prompts, list(DRAFTS), **{k: v for k, v in changed.items() if k != "prompts"})
    level = [checkpoint(tmp_path / "o.safetensors", "few", drafts=DRAFTS)] if kind == "aware" else []
    other = score(images, tmp_path / "other.scores.h5", *level)
    with pytest.raises(BadInput, match=says) as error:
        join_tensor(*([files["base"][0], other], []) if kind == "base" else ([files["base"][0]], [other]))
    assert "\n" not in str(error.value)


def test_base_and_noise_aware_scores_of_different_drafts_are_refused(files, tmp_path):
    """A draft few of other settings, or of other pixels, under the same name."""
    changed = DRAFTS | {"few": DRAFTS["few"] | {"steps": 3}}
    level = checkpoint(tmp_path / "o.safetensors", "few", drafts=changed)
    images = shard(tmp_path / "other.h5", PROMPTS[0], list(DRAFTS), drafts=changed)
    aware = score(images, tmp_path / "a.h5", level)
    with pytest.raises(BadInput, match="drafts few steps"):
        join_tensor(files["base"][:2], [aware])
    images = shard(tmp_path / "pixels.h5", PROMPTS[0], list(DRAFTS), pixels=1)
    level = checkpoint(tmp_path / "p.safetensors", "few", drafts=DRAFTS)
    aware = score(images, tmp_path / "b.h5", level)
    with pytest.raises(BadInput, match="other images of 'a red circle'"):
        join_tensor(files["base"][:2], [aware])


def test_a_checkpoint_of_a_draft_with_other_settings_is_refused(tmp_path, capsys):
    images = shard(tmp_path / "drafts.h5", PROMPTS[0], list(DRAFTS))
    few = DRAFTS["few"]
    for number, (made, says) in enumerate(
        (
            ({"few": few | {"steps": 3}}, "made with steps 3, "),
            ({"few": few | {"lora": "l@1"}}, "made with lora l@1, "),
            ({"few": {k: v for k, v in few.items() if k != "model"}}, "made with model None, "),
        )
    ):
        path = checkpoint(tmp_path / f"{number}.safetensors", "few", drafts=made)
        with pytest.raises(BadInput, match=says) as error:
            check_noise_levels(path, "here", MADE | {"drafts": DRAFTS})
        assert "finetune on such drafts" in str(error.value) and "\n" not in str(error.value)
        capsys.readouterr()
        score(images, tmp_path / "s.h5", path, status=2)
        assert says in capsys.readouterr().err
    same = checkpoint(tmp_path / "same.safetensors", "few", drafts={"few": few | {"tflop": 9.0, "dtype": "bfloat16"}})
    check_noise_levels(same, "here", MADE | {"drafts": DRAFTS})
    with pytest.raises(BadInput, match="is of draft few, which here does not have"):
        check_noise_levels(same, "here", MADE)


def test_verdicts_on_drafts_are_refused(files, tmp_path):
    images = shard(tmp_path / "drafts.h5", PROMPTS[0], list(DRAFTS))
    assert main(["check", images, "--out", str(tmp_path / "checks.h5")]) == 0
    with pytest.raises(BadInput, match="checks.h5: of the checker's verdicts some are of drafts"):
        join_tensor(files["base"], [], [str(tmp_path / "checks.h5")])


def test_labels_of_drafts_are_refused(tmp_path, capsys):
    images = shard(tmp_path / "drafts.h5", PROMPTS[0], list(DRAFTS))
    score(images, tmp_path / "labels.h5", status=2, command="label")
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1 and "holds drafts, not final images; label the images of the full runs" in error[0]
    assert not (tmp_path / "labels.h5").exists()


def test_finetuning_reads_the_images_of_a_draft_and_the_labels_of_the_full_runs(tmp_path):
    from ttsnap.storage.labelled import read_labelled

    steps, drafts = (shard(tmp_path / f"{n}.h5", PROMPTS[0], looks) for n, looks in enumerate((STEPS, list(DRAFTS))))
    labels = score(steps, tmp_path / "labels.h5", command="label")
    found = read_labelled([drafts], [labels], "onestep")
    assert found.attributes["images"]["drafts"] == {"onestep": DRAFTS["onestep"]}
    np.testing.assert_array_equal(found.labels, read_scores(labels).values[:, :, -1])
    assert found.images(1).shape == (CANDIDATES, 8, 8, 3)
    other = shard(tmp_path / "other.h5", PROMPTS[0], list(DRAFTS), seed=1)
    with pytest.raises(BadInput, match="made with seed"):
        read_labelled([other], [labels], "onestep")
    with pytest.raises(BadInput, match="--level: few, but .* holds images of steps 0, 1, 2, 3 only"):
        read_labelled([steps], [labels], "few")
