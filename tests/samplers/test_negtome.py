"""NegToMe: its formula by loops, its effect on tiny models of both families, and its groups."""

import numpy as np
import pytest
import tiny
import torch
from diffusers import DiffusionPipeline

from ttsnap.cli import main
from ttsnap.samplers import candidate_seed, load_sampler, run
from ttsnap.samplers.negtome import PUBLISHED_STRENGTH, Pusher, push
from ttsnap.settings.negtome import NegToMe
from ttsnap.storage.image_shards import read_shard

SIZE = {"height": 32, "width": 32}
ALWAYS = {"first": 1000, "last": 0, "threshold": -0.9, "alpha": 1.2}
SEEDS = [5, 6, 7, 8]  # a group
GUIDANCES = {"sdxl": 3.0, "sdxl-unguided": 1.0, "flux": 3.5}


def cosine(a, b):
    return torch.dot(a, b) / (a.norm() * b.norm())


def test_push_by_loops():
    hidden, alpha, threshold = (torch.randn(3, 6, 4, generator=torch.Generator().manual_seed(0)), 0.7, 0.5)
    pushed, changed = push(hidden, alpha, threshold), 0
    for image in (1, 2):
        for token in hidden[image]:
            similarity = [cosine(token, reference) for reference in hidden[0]]
            best = int(np.argmax(similarity))
            place = (hidden[image] == token).all(-1).nonzero().item()
            expected = token
            if similarity[best] > threshold:
                expected, changed = (1 + alpha) * token - alpha * hidden[0][best], changed + 1
            torch.testing.assert_close(pushed[image, place], expected)
    assert 0 < changed < 12
    assert torch.equal(pushed[0], hidden[0])


def test_published_variant_by_loops():
    """Judged by the inverse match: token j by the image token that reference token j is closest to."""
    hidden, alpha, threshold = (torch.randn(3, 6, 4, generator=torch.Generator().manual_seed(1)), 0.7, 0.3)
    pushed = push(hidden, alpha, threshold, published=True)
    expected = hidden.clone()
    for image in (1, 2):
        for j in range(6):
            similarity = [cosine(hidden[image, i], hidden[0, j]) for i in range(6)]
            match = int(np.argmax(similarity))
            if similarity[match] > threshold:
                expected[image, j] = (1 + alpha) * hidden[image, j] - alpha * hidden[0, match]
    torch.testing.assert_close(pushed, expected)
    assert not torch.allclose(pushed, push(hidden, alpha, threshold))


def lively(pipe):
    """The pipeline with stronger self-attention, which is lost among the residuals of an untrained one."""
    denoiser = getattr(pipe, "unet", None) or pipe.transformer
    for name, module in denoiser.named_modules():
        self_attention = name.endswith("to_out.0") and "attn2" not in name
        if self_attention or (name.endswith("proj_out") and "single" in name):
            module.weight.data *= 30
    return pipe


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return {name: tiny.save(lively(build()), root / name) for name, build in (("sdxl", tiny.sdxl), ("flux", tiny.flux))}


def final(folder, guidance, negtome=None, seeds=SEEDS, steps=3, **kwargs):
    sampler = load_sampler(folder, steps=steps, guidance=guidance, **SIZE, negtome=negtome)
    return run(sampler, "a red circle", seeds, **kwargs)[0]


def spread(latents):
    """Mean distance between the images of a group."""
    return torch.pdist(latents.flatten(1)).mean()


@pytest.mark.parametrize("variant", ["exact", "published"])
@pytest.mark.parametrize("name", GUIDANCES)
def test_diversity_rises_and_the_reference_stays(folders, name, variant, monkeypatch):
    monkeypatch.setattr("ttsnap.samplers.negtome.SMALLEST_SIDE", 2)  # the feature maps are tiny
    folder, guidance = folders[name.split("-")[0]], GUIDANCES[name]
    plain = final(folder, guidance)
    pushed = final(folder, guidance, NegToMe(group=4, variant=variant, **ALWAYS))
    assert torch.allclose(pushed[0], plain[0], atol=1e-5), "the reference is as if alone"
    assert spread(pushed) > spread(plain)
    assert all((pushed[k] - plain[k]).abs().max() > 1e-5 for k in (1, 2, 3))


@pytest.mark.parametrize("name", ["sdxl", "flux"])
def test_off_changes_nothing(folders, name):
    plain = final(folders[name], 3.0)
    never = NegToMe(group=4, first=1000, last=999.9)
    sampler = load_sampler(folders[name], steps=3, guidance=3.0, **SIZE, negtome=never)
    sampler.pusher.first = -1.0  # installed, but acting at no timestep
    assert torch.equal(run(sampler, "a red circle", SEEDS)[0], plain)
    same = DiffusionPipeline.from_pretrained(folders[name])
    denoiser = getattr(same, sampler.denoiser_name)
    assert denoiser.attn_processors.keys() == sampler.denoiser.attn_processors.keys()


@pytest.mark.parametrize("name", ["sdxl", "flux"])
def test_it_acts_only_within_its_timesteps(folders, name):
    plain, pushed = [], []
    for out, negtome in ((plain, None), (pushed, NegToMe(**ALWAYS | {"last": 600}))):
        sampler = load_sampler(folders[name], steps=4, guidance=1.0, **SIZE, negtome=negtome)
        condition, latents = sampler.encode("a"), sampler.init(SEEDS)
        with torch.no_grad():
            out += [sampler.step(s, latents, condition)[1] for s in range(4)]
    within = [600 <= t <= 1000 for t in sampler.timesteps.tolist()]
    assert any(within) and not all(within)
    assert [not torch.equal(a, b) for a, b in zip(plain, pushed, strict=True)] == within


def test_the_reference_cannot_be_dropped_while_it_is_needed(folders):
    with pytest.raises(ValueError, match="candidate 0 is the reference"):
        final(folders["flux"], 3.5, NegToMe(**ALWAYS), on_step=lambda *_: [1, 2])
    kept = final(folders["flux"], 3.5, NegToMe(**ALWAYS), on_step=lambda s, ids, x: [0, 2] if not s else None)
    whole = final(folders["flux"], 3.5, NegToMe(**ALWAYS))
    torch.testing.assert_close(kept, whole[[0, 2]], atol=1e-5, rtol=0)


def test_published_values():
    for family, halves, expected in (("flux", 1, (1.2, 0.65, 1000, 900)), ("sdxl", 2, (2.5, 0.7, 950, 800))):
        pusher = Pusher(NegToMe(), family, halves)
        assert (pusher.alpha, pusher.threshold, pusher.first, pusher.last) == expected
    assert set(PUBLISHED_STRENGTH) == {"flux", "sdxl"}


def test_groups_are_part_of_a_candidate(folders, tmp_path):
    """generate: candidates 2 and 3 are pushed from 2, whatever the number of candidates or the shard."""
    (tmp_path / "p.txt").write_text("a red circle\n")
    words = ["generate", str(tmp_path / "p.txt"), "--model", folders["flux"], "--steps", "3", "--height", "32"]
    words += ["--width", "32", "--negtome-group", "2", "--negtome-last", "0", "--negtome-threshold", "-0.9"]
    shards = []
    for count in (4, 6):
        out = tmp_path / f"{count}.h5"
        assert main([*words, "--candidates", str(count), "--out", str(out)]) == 0
        shards.append(read_shard(out))
    assert shards[0].attributes["negtome"]["group"] == 2
    np.testing.assert_array_equal(shards[0].images(2), shards[1].images(2)[:, :4])
    seeds = [candidate_seed(0, "a red circle", c) for c in (2, 3)]
    alone, pushed = (
        final(folders["flux"], 5.0, negtome, seeds) for negtome in (None, NegToMe(group=2, last=0, threshold=-0.9))
    )
    assert not torch.allclose(alone[1], pushed[1], atol=1e-4)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--negtome-group", "1"], "--negtome-group: "),
        (["--negtome-grop", "2"], "--negtome-grop: "),
        (["--negtome", "group"], "--negtome: takes no value but off"),
        (["--negtome-first", "1", "--negtome-last", "9"], "--negtome: first 1 is under last 9"),
        (["--offload", "disk"], "--offload: "),
        (["--steps", "0"], "--steps: "),
    ],
)
def test_bad_options_are_refused_in_one_line(folders, tmp_path, capsys, words, says):
    (tmp_path / "p.txt").write_text("a\n")
    start = ["generate", str(tmp_path / "p.txt"), "--model", folders["flux"], "--candidates", "2"]
    assert main([*start, "--out", str(tmp_path / "o.h5"), *words]) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1
