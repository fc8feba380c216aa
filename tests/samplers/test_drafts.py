"""Drafts against diffusers' own pipelines from the same noise, on tiny random models of every family."""

import json

import pytest
import tiny
import torch
from diffusers import DiffusionPipeline, DPMSolverMultistepScheduler
from drafting import FAMILIES, drafter, save_lora

from ttsnap.errors import BadInput
from ttsnap.models.flop import count_flop
from ttsnap.samplers import candidate_seed, load_sampler, run
from ttsnap.samplers.candidates import draft_images
from ttsnap.samplers.cost import sampler_cost
from ttsnap.samplers.solvers import DPMPP
from ttsnap.samplers.whole import adapter_layers

SIZE = {"height": 32, "width": 48}
STEPS, GUIDANCE, PROMPT = 6, 3.0, "a red circle"
SEEDS = [candidate_seed(0, PROMPT, number) for number in range(3)]
LORAS = ["sdxl", "flux"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """{family: folder of its tiny model}."""
    return {name: tiny.save(build(), tmp_path_factory.mktemp(name)) for name, build in FAMILIES.items()}


@pytest.fixture(scope="module")
def loras(tmp_path_factory):
    """{family: LoRA file of its tiny model}."""
    return {family: save_lora(family, tmp_path_factory.mktemp(f"lora-{family}")) for family in LORAS}


def opened(folder, **how):
    return load_sampler(folder, **{"steps": STEPS, "guidance": GUIDANCE, **SIZE} | how)


def own_run(pipe, steps: int, guidance: float = GUIDANCE) -> torch.Tensor:
    """The pipeline's own final latents of the candidates."""
    return tiny.own_run(pipe, PROMPT, SEEDS, steps, guidance, SIZE)


def close(a, b):
    assert b.isfinite().all()
    torch.testing.assert_close(a, b, rtol=0, atol=1e-4 * b.abs().max().item())


def made(drafter) -> torch.Tensor:
    return drafter.latents([PROMPT] * len(SEEDS), SEEDS)


def full(sampler) -> torch.Tensor:
    return run(sampler, PROMPT, SEEDS)[0]


# One step of SDXL's spacing would start at the end of the noise in diffusers: see test_solvers.py.
@pytest.mark.parametrize(
    ("family", "steps"), [("sdxl", 2), ("sdxl", 4), ("sd15", 1), ("sd15", 3), ("flux", 1), ("flux", 3)]
)
def test_a_draft_is_the_pipeline_in_its_steps_from_the_same_noise(folders, family, steps):
    pipe = DiffusionPipeline.from_pretrained(folders[family])
    close(made(drafter(opened(folders[family]), steps=steps)), own_run(pipe, steps))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_draft_has_its_own_guidance(folders, family):
    pipe = DiffusionPipeline.from_pretrained(folders[family])
    close(made(drafter(opened(folders[family]), steps=2, guidance=1.0)), own_run(pipe, 2, 1.0))


@pytest.mark.parametrize("karras", [None, True])
@pytest.mark.parametrize("family", ["sdxl", "sd15"])
def test_a_draft_has_its_own_solver(folders, family, karras):
    pipe = DiffusionPipeline.from_pretrained(folders[family])
    config = {key: value for key, value in pipe.scheduler.config.items() if key != "_use_default_values"}
    config |= DPMPP | {"use_karras_sigmas": bool(karras)}
    pipe.register_modules(scheduler=DPMSolverMultistepScheduler.from_config(config))
    few = drafter(opened(folders[family]), steps=3, solver="dpmpp_2m", karras=karras)
    close(made(few), own_run(pipe, 3))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_draft_by_another_folder_is_that_pipeline(folders, family, tmp_path):
    other = FAMILIES[family]()
    denoiser = getattr(other, "unet", None) or other.transformer
    with torch.no_grad():
        for weight in denoiser.parameters():
            weight.mul_(1.1)
    folder = tiny.save(other, tmp_path / "other")
    sampler = opened(folders[family])
    before, few = full(sampler), drafter(sampler, steps=2, model=folder)
    close(made(few), own_run(DiffusionPipeline.from_pretrained(folder), 2))
    assert few.sampler.denoiser is not sampler.denoiser
    assert torch.equal(full(sampler), before)
    assert few.describe()["model"] == "other"


@pytest.mark.parametrize("family", LORAS)
def test_a_lora_draft_is_the_pipeline_with_the_lora_fused(folders, loras, family):
    pipe = DiffusionPipeline.from_pretrained(folders[family])
    plain = own_run(pipe, 2)
    pipe.load_lora_weights(str(loras[family]))
    pipe.fuse_lora()
    pipe.unload_lora_weights()
    fused, few = own_run(pipe, 2), drafter(opened(folders[family]), steps=2, lora=str(loras[family]))
    assert (fused - plain).abs().max() > 0.02 * plain.abs().max()
    close(made(few), fused)


@pytest.mark.parametrize("family", LORAS)
def test_the_full_run_is_bit_equal_with_a_lora_draft_in_between(folders, loras, family):
    before = full(opened(folders[family]))
    sampler = opened(folders[family])
    few = drafter(sampler, steps=2, lora=str(loras[family]))
    assert torch.equal(full(sampler), before)
    drafts = []
    final, _ = run(sampler, PROMPT, SEEDS, lambda *_: drafts.append(made(few)))
    assert torch.equal(final, before) and len(drafts) == STEPS
    assert all(torch.equal(draft, drafts[0]) for draft in drafts)
    assert torch.equal(full(sampler), before)


@pytest.mark.parametrize("family", LORAS)
def test_two_loras_and_a_plain_draft_do_not_disturb_each_other(folders, loras, family, tmp_path):
    second = save_lora(family, tmp_path, seed=6)
    alone = [drafter(opened(folders[family]), steps=2, lora=str(file)) for file in (loras[family], second)]
    expected = [made(each) for each in alone]
    sampler = opened(folders[family])
    together = [drafter(sampler, f"d{n}", steps=2, lora=str(file)) for n, file in enumerate((loras[family], second))]
    plain = drafter(sampler, "plain", steps=2)
    for n in (1, 0, 1):
        assert torch.equal(made(together[n]), expected[n])
        assert torch.equal(made(plain), made(drafter(opened(folders[family]), steps=2)))
    assert not torch.equal(*expected)


@pytest.mark.parametrize("family", LORAS)
def test_a_lora_draft_holds_no_weights_twice(folders, loras, family):
    sampler = opened(folders[family])
    places = {weight.data_ptr() for weight in sampler.denoiser.parameters()}
    few = drafter(sampler, steps=2, lora=str(loras[family]))
    assert few.sampler.denoiser is sampler.denoiser and few.sampler.vae is sampler.vae
    base = {name: weight for name, weight in sampler.denoiser.named_parameters() if "lora_" not in name}
    assert {weight.data_ptr() for weight in base.values()} == places
    made(few)
    assert {weight.data_ptr() for weight in base.values()} == places
    assert not any(weight.requires_grad for weight in base.values())


@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("family", LORAS)
def test_flop_of_a_lora_draft_are_those_of_its_evaluation(folders, loras, family, guidance):
    sampler = opened(folders[family], guidance=guidance)
    few = drafter(sampler, steps=2, lora=str(loras[family]))
    latents, condition = few.sampler.init([0]), few.sampler.encode(PROMPT)
    with few.switched():
        counted = count_flop(few.sampler.step, 0, latents, condition) / 1e12
    assert few.evaluation_tflop == counted > sampler_cost(sampler)["denoise"]
    assert few.tflop == 2 * counted
    assert sampler_cost(sampler) == sampler_cost(opened(folders[family], guidance=guidance))


def test_draft_images_are_the_pipelines_decoded_to_bytes(folders):
    sampler = opened(folders["sdxl"])
    drafters = [drafter(sampler, "one", steps=1), drafter(sampler, "two", steps=2)]
    images = draft_images(sampler, drafters, PROMPT, 0, len(SEEDS), batch_size=2)
    assert images.shape == (len(SEEDS), 2, 32, 48, 3) and images.dtype.name == "uint8"
    for at, each in enumerate(drafters):
        expected = (sampler.decode(made(each)) * 255).round().permute(0, 2, 3, 1)
        difference = torch.from_numpy(images[:, at]).float() - expected
        assert difference.abs().max() <= 1  # the batches differ, by rounding


def test_what_makes_a_draft_is_described_in_json(folders, loras):
    sampler = opened(folders["sdxl"])
    about = drafter(sampler, steps=2, guidance=1.0, lora=str(loras["sdxl"])).describe()
    assert json.loads(json.dumps(about)) == about and str(loras["sdxl"].parent) not in str(about)
    assert (about["steps"], about["guidance"]) == (2, 1.0) and about["lora"].startswith("pytorch_lora_weights")
    assert "lora" not in drafter(sampler, "plain", steps=2).describe()


def test_no_lora_layer_is_on_after_opening(folders, loras):
    sampler = opened(folders["sdxl"])
    drafter(sampler, steps=2, lora=str(loras["sdxl"]))
    layers = adapter_layers(sampler.pipe)
    assert layers and not any(layer.active_adapters for layer in layers)


DEEP = {"block_out_channels": (8, 16, 16), "down_block_types": ("DownEncoderBlock2D",) * 3}
DEEP |= {"up_block_types": ("UpDecoderBlock2D",) * 3}


def other(folder, unet: dict | None = None, **vae) -> str:
    """An SDXL folder of another latent space: changes to the configs of the UNet and the VAE."""
    pipe = tiny.sdxl()
    changed = {
        "unet": pipe.unet.from_config(pipe.unet.config, **unet or {}),
        "vae": pipe.vae.from_config(pipe.vae.config, **vae),
    }
    pipe.register_modules(**changed)
    return tiny.save(pipe, folder / "other")


REFUSED = {
    "another family": (lambda at: {"model": at["flux"]}, "other is of the family flux"),
    "VAE levels": (lambda at: {"model": other(at["new"], **DEEP)}, "latents of shape (4, 8, 12), {} of (4, 16, 24)"),
    "channels": (
        lambda at: {"model": other(at["new"], {"in_channels": 8, "out_channels": 8}, latent_channels=8)},
        "latents of shape (8, 16, 24), {} of (4, 16, 24)",
    ),
    "scale": (
        lambda at: {"model": other(at["new"], scaling_factor=0.5)},
        "other has scaling_factor 0.5, {} 0.13025; a draft needs the same latent space",
    ),
    "statistics": (
        lambda at: {"model": other(at["new"], latents_mean=[0.1] * 4, latents_std=[1.0] * 4)},
        "other has latents_mean [0.1, 0.1, 0.1, 0.1], {} None",
    ),
    "as many evaluations": (lambda at: {"steps": STEPS}, "its 6 steps cost"),
    "as many evaluations of a LoRA": (lambda at: {"steps": STEPS, "lora": at["lora"]}, "its 6 steps cost"),
    "more steps of another model": (lambda at: {"steps": STEPS, "model": at["sdxl"]}, "no less than the full run's"),
    "a missing LoRA": (lambda at: {"lora": "nowhere.safetensors"}, "nowhere.safetensors"),
    "a LoRA of FLUX": (lambda at: {"lora": at["flux lora"]}, "this LoRA does not fit"),
    "no LoRA": (lambda at: {"lora": at["sdxl"] + "/unet/diffusion_pytorch_model.safetensors"}, "does not fit"),
    "a missing folder": (lambda at: {"model": "nowhere"}, "nowhere: no such"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_are_one_line_with_the_draft(folders, loras, tmp_path, case):
    tiny.save(tiny.flux(), tmp_path / "flux/other")
    at = {"flux": str(tmp_path / "flux/other"), "sdxl": folders["sdxl"], "new": tmp_path}
    at |= {"lora": str(loras["sdxl"]), "flux lora": str(loras["flux"])}
    draft, says = REFUSED[case]
    sampler = opened(folders["sdxl"])
    before = full(sampler)
    with pytest.raises(BadInput) as error:
        drafter(sampler, **{"steps": 2} | draft(at))
    assert str(error.value).startswith("draft few: ") and "\n" not in str(error.value)
    assert says.format(sampler.name) in str(error.value)
    assert torch.equal(full(sampler), before)  # nothing is left switched on
