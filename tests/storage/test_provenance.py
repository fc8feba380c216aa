"""Files that do not match are refused by any command that would combine them, in one line that names both."""

import json

import numpy as np
import pytest
import torch
from levels import level_about

from ttsnap.cli import main
from ttsnap.rewards.base import Reward, load_reward
from ttsnap.rewards.levels import make_trainable, save_level
from ttsnap.storage.files import write_json
from ttsnap.storage.image_shards import write_shard
from ttsnap.storage.provenance import check_same
from ttsnap.storage.tensor import RewardTensor, read_tensor, write_tensor

PROMPTS = ["a red circle", "a blue square"]
MADE = {"model": "m", "model_version": "m@1", "steps": 4, "guidance": 5.0, "seed": 0}
MADE |= {"denoise_tflop": 1.0, "decode_tflop": 0.5}
STEPS, CANDIDATES = [0, 1, 3], 3


class Bright(Reward):
    """Mean brightness through two linear layers, which can have adapters; cheap to open."""

    image_size, mean, std = 8, (0.0,) * 3, (1.0,) * 3

    def __init__(self, scale: float = 1.0, version: str = "bright@1"):
        super().__init__()
        self.version, self.scale = version, float(scale)
        self.first, self.last = torch.nn.Linear(3, 4), torch.nn.Linear(4, 1)
        with torch.no_grad():
            for layer in (self.first, self.last):
                layer.weight.fill_(0.5)
                layer.bias.zero_()

    def score(self, pixels, prompts):
        return self.scale * self.last(self.first(pixels.mean((2, 3))))[:, 0]


KIND = "test_provenance:Bright"


def images(path, pixels=0, prompts=PROMPTS, **changed) -> str:
    rng = np.random.default_rng(pixels)
    rows = rng.integers(0, 255, (len(prompts), CANDIDATES, len(STEPS), 8, 8, 3), dtype=np.uint8)
    write_shard(path, prompts, STEPS, iter(rows), MADE | changed)
    return str(path)


def checkpoint(path, level=1, lora=None, reward=None, **made) -> str:
    reward = reward or load_reward(KIND)
    save_level(path, make_trainable(reward, lora), level_about(reward, level, lora, **made))
    return str(path)


def run(command: str, *words, status=0) -> None:
    assert main([command, *map(str, words)]) == status


def score(shard, out, *words, command="score", **options) -> str:
    chosen = [word for key, value in options.items() for word in ("--option", f"{key}={value}")]
    run(command, shard, "--out", out, "--kind", KIND, *words, *chosen)
    return str(out)


@pytest.fixture
def files(tmp_path):
    """A shard of images, its scores by base reward and by a checkpoint, and the checker's verdicts."""
    shard = images(tmp_path / "images.h5")
    level = checkpoint(tmp_path / "1.safetensors")
    found = {"images": shard, "level": level, "folder": tmp_path}
    found["base"] = score(shard, tmp_path / "base.h5", "--name", "bright")
    found["aware"] = score(shard, tmp_path / "aware.h5", "--name", "bright", "--checkpoint", level)
    found["checks"] = str(tmp_path / "checks.h5")
    run("check", shard, "--out", found["checks"])
    return found


def refused(capsys, *says: str) -> None:
    error = capsys.readouterr().err.strip().splitlines()[-1]
    for words in says:
        assert words in error, error


def test_matching_scores_become_a_tensor(files, tmp_path):
    run("tensor", "--base", files["base"], "--noise-aware", files["aware"], "--accepted",
        files["checks"], "--out", tmp_path / "t.h5")  # fmt: skip
    tensor = read_tensor(tmp_path / "t.h5")
    assert tensor.levels == [1] and tensor.read == STEPS and len(tensor.image_digests) == 2
    assert tensor.attrs["reward_made_from"]["kind"] == KIND


OTHER_IMAGES = {
    "seed": ({"seed": 1}, "seed 1"),
    "guidance": ({"guidance": 2.0}, "guidance 2.0"),
    "model": ({"model": "n"}, "model n"),
    "weights of the same name": ({"model_version": "m@2"}, "model version m@2"),
    "pixels": ({"pixels": 7}, "other images of 'a red circle'"),
    "prompts": ({"prompts": PROMPTS[::-1]}, "other prompts"),
}


@pytest.mark.parametrize("other", OTHER_IMAGES)
@pytest.mark.parametrize("kind", ["noise_aware", "accepted"])
def test_scores_of_other_images_make_no_tensor(files, tmp_path, capsys, other, kind):
    changed, says = OTHER_IMAGES[other]
    shard = images(tmp_path / "other.h5", **changed)
    if kind == "noise_aware":
        path = score(shard, tmp_path / "o.h5", "--name", "bright", "--checkpoint", files["level"])
    else:
        path = tmp_path / "o.h5"
        run("check", shard, "--out", path)
    words = [f"--{kind.replace('_', '-')}", path, "--out", tmp_path / "t.h5"]
    run("tensor", "--base", files["base"], *words, status=2)
    refused(capsys, "o.h5", "base.h5", says)
    assert not (tmp_path / "t.h5").exists()


@pytest.mark.parametrize(
    "words, says",
    [
        (["--base", "aware", "--noise-aware", "base"], "values of noise-aware checkpoints"),
        (["--base", "checks"], "verdicts of a checker"),
        (["--base", "base", "--accepted", "base"], "values of a base reward"),
        (["--base", "base", "base"], "come 2 times"),
        (["--base", "base", "--noise-aware", "named"], "reward other"),
        (["--base", "scaled", "--noise-aware", "aware"], "options scale"),
        (["--base", "base", "--noise-aware", "weights"], "made from version bright@2"),
    ],
)
def test_scores_of_another_kind_or_reward_make_no_tensor(files, tmp_path, capsys, words, says):
    if "named" in words:
        files["named"] = score(files["images"], tmp_path / "n.h5", "--name", "other", "--checkpoint", files["level"])
    if "scaled" in words:
        files["scaled"] = score(files["images"], tmp_path / "s.h5", "--name", "bright", scale=2)
    if "weights" in words:
        other = load_reward(KIND, version="bright@2")
        level = checkpoint(tmp_path / "2.safetensors", reward=other)
        arguments = ["--name", "bright", "--checkpoint", level]
        path = score(files["images"], tmp_path / "w.h5", *arguments, version="bright@2")
        files["weights"] = path
    run("tensor", *[files.get(word, word) for word in words], "--out", tmp_path / "t.h5", status=2)
    refused(capsys, says)


LORA = {"rank": 2, "alpha": 4.0}


@pytest.mark.parametrize(
    "first, second, says",
    [
        ({}, {"level": 1}, "are both of step 1"),
        ({"lora": LORA}, {"level": 3, "lora": {"rank": 3, "alpha": 4.0}}, "has LoRA"),
        ({"lora": LORA}, {"level": 3, "lora": {"rank": 2, "alpha": 9.0}}, "has LoRA"),
        ({"lora": LORA}, {"level": 3}, "has LoRA None"),
        ({}, {"level": 3, "version": "bright@2"}, "made with version bright@2"),
        ({}, {"level": 3, "scale": 3}, "made with options scale 3"),
        ({}, {"level": 3, "steps": 20}, "made with steps 20"),
        ({}, {"level": 3, "scheduler": "Other"}, "made with scheduler Other"),
    ],
)
@pytest.mark.parametrize("reader", ["score", "LevelWeights"])
def test_checkpoints_that_do_not_match_are_refused(files, tmp_path, capsys, first, second, says, reader):
    from ttsnap.errors import BadInput
    from ttsnap.rewards.levels import LevelWeights, by_level
    from ttsnap.storage.checkpoints import check_noise_levels

    made = MADE | {"scheduler": "Euler"}
    shard = images(tmp_path / "i.h5", scheduler="Euler")
    paths = []
    for name, given in (("a", first), ("b", second)):
        options = {key: given[key] for key in ("version", "scale") if key in given}
        noise = {key: given.get(key, made[key]) for key in ("steps", "scheduler")}
        reward = load_reward(KIND, **options)
        path = tmp_path / f"{name}.safetensors"
        paths.append(checkpoint(path, given.get("level", 1), given.get("lora"), reward, **noise))
    if reader == "score":
        words = [word for path in paths for word in ("--checkpoint", path)]
        run("score", shard, "--out", tmp_path / "o.h5", "--kind", KIND, *words, status=2)
        refused(capsys, "b.safetensors", says)
        assert not (tmp_path / "o.h5").exists()
        return
    with pytest.raises(BadInput, match=f"b.safetensors.*{says}"):
        levels = by_level(paths)
        for path in paths:
            check_noise_levels(path, shard, made)
        LevelWeights(load_reward(KIND), levels)


FINETUNE = {
    "labels of other images": ({"train_shard": {"pixels": 3}}, "other images"),
    "labels of images of another seed": ({"train_shard": {"seed": 4}}, "made with seed 0"),
    "labels of another reward": ({"options": {"scale": 2}}, "options scale"),
    "labels that are noise-aware": ({"labels": "aware"}, "values of noise-aware checkpoints"),
    "validation images of another guidance": ({"validation": {"guidance": 1.0}}, "guidance 1.0"),
    "validation prompts that are trained on": ({"texts": ["A  red circle"]}, "is also trained on"),
    "a start with other adapters": ({"start": {"lora": LORA}}, "other LoRA settings"),
    "a start of another base": ({"start": {"version": "bright@2"}}, "version bright@2"),
}


@pytest.mark.parametrize("case", [None, *FINETUNE])
def test_finetune_refuses_inputs_that_do_not_match(files, tmp_path, capsys, case):
    changed, says = FINETUNE.get(case, ({}, ""))
    held_out = changed.get("validation", {})
    words = ["--level", 1, "--kind", KIND, "--out", tmp_path / "l.safetensors"]
    texts = changed.get("texts", ["a green circle", "a blue circle"])
    validation = images(tmp_path / "v.h5", 1, texts, **held_out)
    for part, shard in (("train", files["images"]), ("validation", validation)):
        options = changed.get("options", {})
        labels = score(shard, tmp_path / f"{part}.labels.h5", command="label", **options)
        if part == "train" and "train_shard" in changed:
            shard = images(tmp_path / "t.h5", **changed["train_shard"])
        if part == "train" and "labels" in changed:
            labels = files[changed["labels"]]
        words += [f"--{part}-images", shard, f"--{part}-labels", labels]
    if start := dict(changed.get("start", {})):
        lora = start.pop("lora", None)
        base = load_reward(KIND, **start)
        words += ["--start", checkpoint(tmp_path / "s.safetensors", 3, lora, base)]
    run("finetune", *words, status=2 if case else 0)
    if case:
        refused(capsys, says)
    assert (tmp_path / "l.safetensors").exists() == (case is None)


def tensor(path, reward="bright", seed=0, digest="x", levels=True, **attrs) -> str:
    rng = np.random.default_rng(seed)
    base = rng.normal(size=(4, 6, 4))
    aware = base.copy()
    aware[:, :, [0, 2, 3]] = np.nan
    about = {**MADE, "look_tflop": 0.6, "reward_tflop": 0.1, "reward": reward}
    digests = [f"{digest}{n}" for n in range(4)]
    write_tensor(path, RewardTensor(base, aware, attrs=about | attrs, image_digests=digests))
    return str(path)


@pytest.mark.parametrize(
    "changed, says",
    [
        ({"digest": "y"}, "read from other images"),
        ({"guidance": 1.0}, "guidance 1.0"),
        ({"model_version": "m@9"}, "model version m@9"),
    ],
)
def test_tensors_of_other_images_are_not_searched_together(tmp_path, capsys, changed, says):
    paths = [tensor(tmp_path / "a.h5"), tensor(tmp_path / "b.h5", "second", 1, **changed)]
    run("simulate", *paths, "--budgets", "10,20", "--steps", "1", "--keep", "0.5", status=2)
    refused(capsys, says)


def test_a_schedule_fitted_for_other_steps_is_refused(tmp_path, capsys):
    fitted = {"schedule": {"steps": [1], "keep": [0.5]}, "settings": {"num_steps": 20}}
    write_json(tmp_path / "s.json", fitted)
    words = ["--budgets", "10,20", "--schedule", tmp_path / "s.json"]
    run("simulate", tensor(tmp_path / "a.h5"), *words, status=2)
    refused(capsys, "s.json: fitted for 20 steps, here there are 4")


@pytest.fixture
def results(tmp_path):
    """The JSON of two tensors' commands: {name: {command: path}}."""
    found = {}
    for seed, name in enumerate(("mine", "other")):
        path = tensor(tmp_path / f"{name}.h5", seed=seed, level_versions=f"1:w{seed}")
        made = {"tensor": path}
        budgets = ["--budgets", "6,9,12"]
        for command in ("align", "simulate", "fit-schedule"):
            made[command] = tmp_path / f"{name}.{command}.json"
            words = budgets if command != "align" else []
            words = [*words, "--steps", 1, "--keep", 0.5] if command == "simulate" else words
            if command == "fit-schedule":
                words = [*words, "--evaluations", 30]
            run(command, path, *words, "--json", made[command])
        made["level"] = tmp_path / f"{name}.level.json"
        level = {"level": 1, "kept": "trained", "version": f"w{seed}"}
        tau = {"validation_tau_start": 0.1, "validation_tau_trained": 0.2}
        write_json(made["level"], level | tau)
        found[name] = made
    return found


@pytest.mark.parametrize(
    "part, mine, other",
    [
        ("tau", {"simulation": "simulate"}, {"alignment": "align"}),
        ("cost", {"simulation": "simulate"}, {"tensor": "tensor"}),
        ("levels", {"alignment": "align"}, {"level": "level"}),
        ("gain", {"simulation": "simulate"}, {"schedule": "fit-schedule"}),
        ("summary", {"simulation": "simulate", "alignment": "align"}, {"tensor": "tensor"}),
        ("summary", {"simulation": "simulate", "tensor": "tensor"}, {"alignment": "align"}),
    ],
)
def test_a_report_on_two_tensors_is_refused(results, tmp_path, capsys, part, mine, other):
    out = tmp_path / "out"
    words = [word for key, name in mine.items() for word in (f"--{key}", results["mine"][name])]

    def make(source: str, status: int) -> None:
        more = [w for key, name in other.items() for w in (f"--{key}", results[source][name])]
        run("report", "--part", part, *words, *more, "--out", out, status=status)

    if part != "gain":  # there the schedule is fitted elsewhere in any case
        make("mine", 0)
    capsys.readouterr()
    make("other", 2)
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and any(
        words in error for words in ("another tensor", "other weights", "not the schedule")
    )


def test_the_first_difference_is_named():
    with pytest.raises(Exception, match="a: made with x y 1, b with 2; do it again") as caught:
        check_same("a", {"x": {"y": 1}}, "b", {"x": {"y": 2}}, "do it again")
    assert type(caught.value).__name__ == "BadInput"
    check_same("a", {"x": 1, "z": 3}, "b", {"x": 1}, "", known=True)
    check_same("a", {"x": 1, "seed": 3}, "b", {"x": 1}, "", apart_from=("seed",))


@pytest.mark.parametrize("noise", ["assigned", "random"])
def test_noise_assigned_for_another_model_is_refused(manifest, gan, tmp_path, capsys, noise):
    """SFT on random noise reads only the targets, so it accepts any assignment."""
    from ttsnap.sft.gan import GanGenerator, save_gan

    torch.manual_seed(1)
    save_gan(GanGenerator(1, 8, 16, 8, [str(n) for n in range(10)]), tmp_path / "other")
    words = ["--manifest", manifest, "--model", tmp_path / "other", "--noise", noise]
    out = ["--epochs", 1, "--out", tmp_path / "out", "--device", "cpu"]
    run("sft", *words, *out, status=2 if noise == "assigned" else 0)
    if noise == "assigned":
        refused(capsys, "made with model", "assign noise for this very model")


@pytest.mark.parametrize("changed, says", [({"seed": 5}, "seed"), ({"patch": 4}, "patch")])
def test_assignments_of_other_settings_do_not_join(manifest, gan, tmp_path, capsys, changed, says):
    words = ["--data", "digits", "--limit", 8, "--model", gan, "--steps", 3, "--device", "cpu"]
    more = [word for key, value in changed.items() for word in (f"--{key}", value)]
    run("assign", *words, *more, "--out", tmp_path / "b")
    both = ["--manifest", manifest, tmp_path / "b/manifest.jsonl", "--model", gan]
    run("sft", *both, "--out", tmp_path / "out", "--device", "cpu", status=2)
    refused(capsys, "assigned alike")
    run("assign", *words, "--from", tmp_path / "b/manifest.jsonl", "--out", tmp_path / "c",
        status=2)  # fmt: skip
    refused(capsys, "the earlier assignment: made with", says)


def test_a_classifier_of_another_data_set_is_refused(manifest, gan, tmp_path, capsys):
    from ttsnap.sft.classifier import Classifier, save_classifier

    save_classifier(Classifier(1, 10, "mnist"), tmp_path / "c.safetensors")
    words = ["--model", gan, "--base", gan, "--train-manifest", manifest]
    words += ["--test-manifest", manifest, "--classifier", tmp_path / "c.safetensors"]
    run("compare-sft", *words, "--data", "digits", "--device", "cpu", status=2)
    refused(capsys, "was trained on mnist, --data is digits")


def test_comparisons_with_two_original_models_are_refused(tmp_path, capsys):
    for name, base in (("base.0", "a@1"), ("random.1", "a@2")):
        way, cycle = name.split(".")
        about = {"way": way, "cycle": int(cycle), "seed": 0, "base": base, "judge": "j"}
        figures = {"samples": 1, "psnr": 20.0}
        about |= {"train": figures, "test": figures, "drift": 0.1}
        about["fresh"] = {"samples": 1, "feature_distance": 1.0}
        (tmp_path / f"{name}.json").write_text(json.dumps(about))
    paths = [tmp_path / "base.0.json", tmp_path / "random.1.json"]
    run("report-sft", "--part", "table", "--comparison", *paths, "--out", tmp_path / "t.html",
        status=2)  # fmt: skip
    refused(capsys, "made with base a@2", "with a@1")


def test_published_values_of_two_models_are_refused(tmp_path, capsys):
    for name in ("flux_imr_val_base", "sdxl_imr_val_naft"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "p1_i2_s00.yaml").write_text("0: [0.1, 0.2]\n")
    words = ["--base", tmp_path / "flux_imr_val_base"]
    words += ["--noise-aware", tmp_path / "sdxl_imr_val_naft", "--out", tmp_path / "t.h5"]
    run("import-values", *words, status=2)
    refused(capsys, "is of sdxl imr by its name, --base of flux imr")
