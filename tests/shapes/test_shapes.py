"""The shapes world: captions, drawing and the checker."""

import numpy as np
import pytest

from recipe.groups import wrong_caption
from recipe.prompt_sets import prompt_sets
from recipe.tokenizer import build_tokenizer
from ttsnap.cli import main
from ttsnap.shapes.captions import Caption, held_out, parse, random_caption
from ttsnap.shapes.checker import check
from ttsnap.shapes.world import BLOB, ELLIPSE, RING, place, render
from ttsnap.storage.image_shards import write_shard


def drawn(n: int, objects: int, seed: int = 0):
    """n captions with so many objects, their scenes and their images [n,64,64,3]."""
    rng = np.random.default_rng(seed)
    captions = [random_caption(rng, objects) for _ in range(n)]
    scenes = place(rng, captions)
    return captions, scenes, render(scenes).permute(0, 2, 3, 1).numpy()


def test_captions_read_back():
    rng = np.random.default_rng(0)
    for i in range(300):
        caption = random_caption(rng, 1 + i % 3, "any")
        assert parse(caption.text()) == caption
    text = "a red circle left of a blue square and above an orange triangle"
    assert parse(text) == Caption(((0, 0), (2, 1), (5, 2)), (0, 2))
    assert parse("a  RED circle ") == Caption(((0, 0),), ())
    assert parse("a photo of a cat") is None


@pytest.mark.parametrize("objects", [1, 2, 3])
def test_checker_accepts_what_was_drawn(objects):
    captions, _, images = drawn(100, objects)
    accepted, fidelity = check(images, [c.text() for c in captions])
    assert accepted.all()
    assert fidelity.min() > 0.8


def test_checker_refuses_every_wrong_caption():
    captions, _, images = drawn(150, 2)
    rng = np.random.default_rng(1)
    wrong = [wrong_caption(rng, c).text() for c in captions]
    accepted, _ = check(images, wrong)
    symmetric = [  # "A left of B" read as "B right of A" is another sentence for the same picture
        set(c.objects) == set(parse(w).objects) and c.objects != parse(w).objects
        for c, w in zip(captions, wrong, strict=True)
    ]
    assert not accepted[~np.array(symmetric)].any()


@pytest.mark.parametrize("flaw", ["missing", "extra", "malformed", "colour"])
def test_checker_refuses_flaws(flaw):
    captions, scenes, _ = drawn(60, 2)
    if flaw == "missing":
        scenes.kind[:, 1] = -1
    elif flaw == "malformed":
        scenes.kind[:, 0] = np.resize([ELLIPSE, RING, BLOB], 60)
    elif flaw == "colour":
        scenes.colour[:, 0] = 0.5
    images = render(scenes).permute(0, 2, 3, 1).numpy()
    if flaw == "extra":
        images[:, 1:8, 1:8] = (0.86, 0.12, 0.12)
    accepted, fidelity = check(images, [c.text() for c in captions])
    assert accepted.mean() < 0.05
    assert fidelity.mean() < 0.8


def test_checker_tolerates_what_an_autoencoder_does():
    captions, _, images = drawn(100, 2)
    noisy = images + np.random.default_rng(0).normal(0, 0.04, images.shape)
    accepted, _ = check(np.clip(noisy, 0, 1), [c.text() for c in captions])
    assert accepted.mean() > 0.9


def test_checker_names_a_prompt_that_is_not_a_caption():
    with pytest.raises(ValueError, match="a cat"):
        check(np.zeros((1, 64, 64, 3), np.uint8), ["a cat"])


def test_prompt_files_are_what_the_code_makes():
    for name, prompts in prompt_sets().items():
        with open(f"workflow/prompts/{name}.txt", encoding="utf-8") as file:
            assert file.read().splitlines() == prompts


def test_held_out_captions_are_held_out():
    sets = prompt_sets()
    assert not any(held_out(p) for p in sets["train"])
    assert all(held_out(p) for p in sets["validation"] + sets["test"])
    assert not set(sets["validation"]) & set(sets["test"])
    rng = np.random.default_rng(0)
    assert not any(held_out(random_caption(rng, 3).text()) for _ in range(200))
    assert not any(held_out(wrong_caption(rng, random_caption(rng, 2)).text()) for _ in range(200))


def test_tokenizer_reads_words_whole_and_any_script():
    tokenizer = build_tokenizer()
    tokens = tokenizer.tokenize("a purple triangle below an orange square")
    assert tokens == [w + "</w>" for w in "a purple triangle below an orange square".split()]
    ids = tokenizer("Привет 🐱 漢字").input_ids
    assert len(ids) > 5 and max(ids) < len(tokenizer)


def test_a_prompt_that_the_checker_cannot_read_is_refused_in_one_line(tmp_path, capsys):
    row = np.zeros((1, 1, 64, 64, 3), np.uint8)
    write_shard(tmp_path / "s.h5", ["a cat"], [0], [row], {})
    assert main(["check", str(tmp_path / "s.h5"), "--out", str(tmp_path / "c.h5")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "s.h5: not a caption of the shapes world: 'a cat'" in error
    assert not (tmp_path / "c.h5").exists()
