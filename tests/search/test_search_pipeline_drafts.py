"""`search_pipeline` with drafts: by number of steps, table, second pipeline and LoRA, beside LoRAs of one's own."""

import numpy as np
import pytest
import tiny
import torch
from diffusers import DiffusionPipeline
from drafting import FAMILIES, save_lora
from searching import PROMPTS, SIZE, STEPS

from ttsnap.errors import BadInput
from ttsnap.samplers import candidate_seed, wrap_pipeline
from ttsnap.samplers.drafts import Drafter
from ttsnap.samplers.whole import adapter_layers
from ttsnap.search import search_pipeline

OPTIONS = {"num_inference_steps": STEPS, "guidance_scale": 3.0, **SIZE}
LOOKS = {"looks": ("few", 2), "keep": (0.6, 0.5), "budget": 4}
PROMPT = PROMPTS[0]


def red(images, prompt):
    return images[:, 0].mean((1, 2)) * 100


@pytest.fixture(scope="module", params=["sdxl", "flux"])
def family(request):
    return request.param


@pytest.fixture(scope="module")
def files(family, tmp_path_factory):
    """A model folder and two LoRAs, called fast and style."""
    folder = tmp_path_factory.mktemp("files")
    loras = {name: str(save_lora(family, folder / name, seed=n)) for n, name in enumerate(("fast", "style"))}
    return loras | {"model": tiny.save(FAMILIES[family](), folder / "model")}


@pytest.fixture
def pipe(files):
    pipe = DiffusionPipeline.from_pretrained(files["model"])
    pipe.set_progress_bar_config(disable=True)
    for part in pipe.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval().requires_grad_(False)
    return pipe


def first_look(found):
    look = found[0].looks[0]
    assert look.at == "few"
    return look.ids, look.rewards["score"]


def images_of(pipe, ids, steps: int, guidance: float) -> torch.Tensor:
    """The pipeline's own images of these candidates."""
    seeds = [candidate_seed(0, PROMPT, number) for number in ids]
    return tiny.own_run(pipe, PROMPT, seeds, steps, guidance, SIZE, "pt")


def check_first_look(found, pipe, steps: int, guidance: float) -> None:
    """The draft's rewards are those of the pipeline's own images."""
    ids, rewards = first_look(found)
    np.testing.assert_allclose(rewards, red(images_of(pipe, ids, steps, guidance), ""), atol=0.05)
    assert np.ptp(rewards) > 0.2


def test_a_number_is_of_steps_of_the_same_pipeline(pipe):
    found = search_pipeline(pipe, red, PROMPTS, drafts={"few": 2}, **LOOKS, **OPTIONS)
    assert [result.prompt for result in found] == PROMPTS
    assert found[0].drafts == {"few": len(found[0].looks[0].ids)} and [look.at for look in found[0].looks][1:] == [2, 4]
    check_first_look(found, pipe, 2, 3.0)


def test_a_table_gives_steps_and_guidance(pipe):
    drafts = {"few": {"steps": 3, "guidance": 1.0}, "unused": 1}
    found = search_pipeline(pipe, red, PROMPT, drafts=drafts, **LOOKS, **OPTIONS)
    check_first_look(found, pipe, 3, 1.0)
    assert set(found[0].drafts) == {"few"}


def test_a_second_pipeline(pipe, files):
    other = DiffusionPipeline.from_pretrained(files["model"])
    other.set_progress_bar_config(disable=True)
    other.load_lora_weights(files["style"])
    drafts = {"few": {"pipeline": other, "steps": 2, "guidance": 2.0}}
    found = search_pipeline(pipe, red, PROMPT, drafts=drafts, **LOOKS, **OPTIONS)
    check_first_look(found, other, 2, 2.0)
    plain = search_pipeline(pipe, red, PROMPT, budget=len(found[0].looks[0].ids), **OPTIONS)
    last, everyone = found[0].looks[-1], plain[0].looks[-1]
    np.testing.assert_allclose(last.rewards["score"], everyone.rewards["score"][last.ids], atol=0.05)


def fused(files, name: str, scale: float = 1.0):
    """The pipeline with one LoRA fused."""
    pipe = DiffusionPipeline.from_pretrained(files["model"])
    pipe.set_progress_bar_config(disable=True)
    pipe.load_lora_weights(files[name])
    pipe.fuse_lora(lora_scale=scale)
    pipe.unload_lora_weights()
    return pipe


def test_the_name_of_a_lora_that_is_on_for_its_draft_alone(pipe, files):
    plain = search_pipeline(pipe, red, PROMPT, budget=9, **OPTIONS)[0].looks[-1]
    pipe.load_lora_weights(files["fast"], adapter_name="fast")
    before = [list(layer.active_adapters) for layer in adapter_layers(pipe)]
    drafts = {"few": {"lora": "fast", "steps": 2, "guidance": 1.0}}
    found = search_pipeline(pipe, red, PROMPT, drafts=drafts, **LOOKS, **OPTIONS)
    check_first_look(found, fused(files, "fast"), 2, 1.0)
    last = found[0].looks[-1]
    np.testing.assert_allclose(last.rewards["score"], plain.rewards["score"][last.ids], atol=0.05)
    assert [list(layer.active_adapters) for layer in adapter_layers(pipe)] == before == [["fast"]] * len(before)


def test_ones_own_lora_stays_on_with_its_scale_and_the_drafts_is_off(pipe, files):
    for name in ("style", "fast"):
        pipe.load_lora_weights(files[name], adapter_name=name)
    for names, scales in ((["style"], [3.0]), (["style", "fast"], [3.0, 0.7])):
        pipe.set_adapters(names, scales)
        drafts = {"few": {"lora": "fast", "steps": 2, "guidance": 1.0}}
        found = search_pipeline(pipe, red, PROMPT, drafts=drafts, **LOOKS, **OPTIONS)[0]
        assert pipe.get_active_adapters() == names
        styled = images_of(fused(files, "style", 3.0), [found.pick], STEPS, 3.0)
        assert found.rewards["score"] == pytest.approx(red(styled, "").item(), abs=0.05)
        image = torch.from_numpy(found.image).permute(2, 0, 1) / 255
        assert (image - styled[0]).abs().max() < 0.01
    unstyled = images_of(DiffusionPipeline.from_pretrained(files["model"]), [found.pick], STEPS, 3.0)
    assert (unstyled - styled).abs().max() > 0.03


def test_a_lora_of_a_second_pipeline_leaves_ones_own_of_that_name_on(pipe, files):
    other = DiffusionPipeline.from_pretrained(files["model"])
    for each, name in ((pipe, "style"), (other, "fast")):
        each.load_lora_weights(files[name], adapter_name="mine")
    pipe.set_adapters(["mine"], [3.0])
    drafts = {"few": {"pipeline": other, "lora": "mine", "steps": 2}}
    found = search_pipeline(pipe, red, PROMPT, drafts=drafts, **LOOKS, **OPTIONS)[0]
    styled = images_of(fused(files, "style", 3.0), [found.pick], STEPS, 3.0)
    assert (torch.from_numpy(found.image).permute(2, 0, 1) / 255 - styled[0]).abs().max() < 0.01


def test_the_short_form_of_a_lora_is_one_step_without_guidance(pipe, files):
    pipe.load_lora_weights(files["fast"], adapter_name="fast")
    pipe.disable_lora()
    found = search_pipeline(pipe, red, PROMPT, drafts={"few": "fast"}, **LOOKS, **OPTIONS)[0]
    sampler = wrap_pipeline(pipe, steps=STEPS, guidance=3.0, **SIZE)
    one = Drafter("few", sampler.variant(steps=1, guidance=0.0), "fast")
    ids = found.looks[0].ids
    images = sampler.look(one.latents([PROMPT] * len(ids), [candidate_seed(0, PROMPT, c) for c in ids]))
    np.testing.assert_allclose(found.looks[0].rewards["score"], red(images, ""), atol=0.3)
    assert all(layer.disable_adapters for layer in adapter_layers(pipe))


REFUSED = [
    ({"looks": ("none",)}, {"few": 2}, "'none' is neither a step nor a draft"),
    ({"looks": ("few",)}, None, "'few' is neither a step nor a draft; there is none"),
    ({"looks": (2, "few"), "keep": (0.5, 0.5)}, {"few": 2}, "step 2 stands before a draft"),
    ({}, {"few": STEPS}, "drafts: few: its 5 steps cost"),
    ({}, {"few": "nolora"}, "drafts: few: the pipeline has no LoRA 'nolora'"),
    ({}, {"few": {"guidance": 1.0}}, "drafts: few: give a number of steps, or a table"),
    ({}, {"few": {"steps": 2, "pipline": None}}, "drafts: few: give a number of steps, or a table"),
    ({}, {"few": 0}, "drafts: few: steps"),
    ({"noise_aware": {"many": red}}, {"few": 2}, "noise_aware: draft many is not one of the looks"),
]


@pytest.mark.parametrize(("how", "drafts", "says"), REFUSED)
def test_refusals_are_one_line(pipe, how, drafts, says):
    with pytest.raises(BadInput) as caught:
        search_pipeline(pipe, red, PROMPT, drafts=drafts, **{"looks": ("few",), "keep": (0.5,), "budget": 4} | how,
                        **OPTIONS)  # fmt: skip
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_a_pipeline_of_another_family_is_no_draft(pipe, family):
    other = {"sdxl": tiny.sd15, "flux": tiny.sdxl}[family]()
    with pytest.raises(BadInput, match="drafts: few: pipeline is of the family"):
        search_pipeline(pipe, red, PROMPT, drafts={"few": other}, **LOOKS, **OPTIONS)
