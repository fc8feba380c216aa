"""The embedded models as shipped: from_pretrained opens them, they draw captions, and the reward passes its gates."""

import numpy as np
import pytest
import torch

from recipe.codes import caption_code, image_code
from recipe.groups import sampled_groups
from recipe.reward import MIN_AUC, MIN_SHIFT_TAU, gates
from ttsnap.models import EMBEDDED
from ttsnap.samplers import load_sampler
from ttsnap.shapes.captions import Caption, parse, random_caption
from ttsnap.shapes.checker import find
from ttsnap.shapes.world import place, render


@pytest.fixture(scope="module")
def sampler():
    return load_sampler(EMBEDDED / "shapes-sdxl", steps=20, guidance=0, height=64, width=64)


def samples(sampler, objects: int, prompts: int, m: int):
    rng = np.random.default_rng([7, objects])  # apart from the captions of the card's figures
    captions = [random_caption(rng, objects, "held_out").text() for _ in range(prompts)]
    return sampled_groups(sampler, captions, m, seed=7)


def test_weights_are_small_safetensors_with_cards():
    found = [path for path in EMBEDDED.rglob("*") if path.is_file()]
    files = [path for path in found if not path.is_symlink()]  # a link takes no room
    assert sum(path.stat().st_size for path in files if path.suffix == ".safetensors") <= 16e6
    assert sum(path.stat().st_size for path in files) <= 20e6  # with reward tensors
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".txt", ".md", ".py", ".h5"}
    for folder in ("shapes-sdxl", "shapes-clip", "shapes-onestep", "shapes-taesd", "shapes-levels"):
        card = (EMBEDDED / folder / "README.md").read_text()
        for word in ("Data", "Recipe", "Seed", "Time", "Measured"):
            assert word in card, (folder, word)


def test_they_open_from_pretrained():
    from diffusers import AutoencoderKL, StableDiffusionXLPipeline
    from transformers import CLIPModel, CLIPTokenizer

    pipeline = StableDiffusionXLPipeline.from_pretrained(EMBEDDED / "shapes-sdxl")
    image = pipeline("a red circle", height=64, width=64, num_inference_steps=2).images[0]
    assert image.size == (64, 64)
    vae = AutoencoderKL.from_pretrained(EMBEDDED / "shapes-sdxl", subfolder="vae")
    assert vae.encode(torch.zeros(1, 3, 64, 64)).latent_dist.mean.shape == (1, 4, 16, 16)
    CLIPModel.from_pretrained(EMBEDDED / "shapes-clip")
    assert CLIPTokenizer.from_pretrained(EMBEDDED / "shapes-clip")("a red circle").input_ids


@pytest.mark.parametrize(("objects", "least"), [(1, 0.8), (2, 0.6)])
def test_the_generator_draws_held_out_captions(sampler, objects, least):
    groups = samples(sampler, objects, prompts=12, m=4)
    assert (groups.quality >= 1).float().mean() >= least


def test_the_reward_passes_its_gates(sampler):
    from ttsnap.rewards.base import load_reward

    reward = load_reward("pickscore", path="embedded:shapes-clip")
    figures = gates(reward, samples(sampler, 3, prompts=16, m=8), "cpu")
    assert figures["auc_prompts"] >= 8
    assert figures["auc"] > MIN_AUC, figures
    assert figures["shift_tau"] > MIN_SHIFT_TAU, figures


def test_one_step_draws_held_out_captions():
    """Far less reliably than the twenty steps that it was distilled from."""
    folder = EMBEDDED / "shapes-onestep"
    student = load_sampler(folder, steps=1, guidance=1.0, height=64, width=64)
    assert (samples(student, 1, prompts=12, m=4).quality >= 1).float().mean() >= 0.35


def test_the_look_decoder_makes_the_vaes_images_for_less(sampler):
    from diffusers import AutoencoderKL, AutoencoderTiny

    from ttsnap.samplers import candidate_seed, run
    from ttsnap.samplers.cost import decode_flop, on_meta

    tiny, report = AutoencoderTiny.from_pretrained(EMBEDDED / "shapes-taesd", output_loading_info=True)
    assert not any(report.values()) and tiny.dtype == torch.float32 and tiny.config.scaling_factor == 1
    parts = (tiny, sampler.vae)
    cheap, full = (decode_flop(on_meta(type(part), part.config), rows=16, columns=16) for part in parts)
    assert isinstance(sampler.vae, AutoencoderKL) and cheap <= 0.15 * full
    errors = []

    def look(step, ids, denoised):
        images = (tiny.decode(denoised).sample / 2 + 0.5).clamp(0, 1)
        errors.append((images - sampler.decode(denoised)).square().mean())

    caption = random_caption(np.random.default_rng(7), 3, "held_out").text()
    run(sampler, caption, [candidate_seed(7, caption, number) for number in range(8)], look)
    assert len(errors) == 20 and -10 * torch.log10(max(errors)) >= 28
    with torch.inference_mode():
        assert tiny.encode(torch.zeros(1, 3, 64, 64)).latents.shape == (1, 4, 16, 16)


def test_codes_prefer_the_picture_of_the_caption():
    rng = np.random.default_rng(0)
    captions = [random_caption(rng, 2) for _ in range(50)]
    images = render(place(rng, captions)).permute(0, 2, 3, 1).numpy()
    for caption, found in zip(captions, find(images), strict=True):
        swapped = Caption(caption.objects[::-1], caption.relations)
        code = image_code(found)
        assert code @ caption_code(caption) > code @ caption_code(swapped)


def test_caption_code_of_a_chain():
    code = caption_code(parse("a red circle left of a blue square and above a green triangle"))
    assert code[-1] == 0  # nothing is amiss
    code = code[:-1].reshape(6, 3, 3)
    assert code[0, 0].tolist() == [1, -1, -1]  # there, to the left, above
    assert code[2, 1].tolist() == [1, 1, 0]
    assert code[1, 2].tolist() == [1, 0, 1]
    assert np.count_nonzero(code) == 7
