"""The look decoder against diffusers' AutoencoderTiny by hand, and what is refused in its place."""

import json

import pytest
import tiny
import torch
from diffusers import AutoencoderTiny
from safetensors.torch import load_file, save_file

from ttsnap.errors import BadInput
from ttsnap.samplers import cost, load_sampler, run, wrap_pipeline
from ttsnap.samplers.flux import unpack

SIZE = {"height": 32, "width": 48}
CALL = {"steps": 2, "guidance": 2.0, **SIZE}
PROMPT, SEEDS = "a red circle", [1, 2]
FAMILIES = {"sdxl": tiny.sdxl, "sd15": tiny.sd15, "flux": tiny.flux}


@pytest.fixture(scope="module", params=FAMILIES)
def model(request, tmp_path_factory):
    return tiny.save(FAMILIES[request.param](), tmp_path_factory.mktemp("models") / request.param)


@pytest.fixture
def decoder(tmp_path):
    tiny.taesd().save_pretrained(tmp_path / "taesd")
    return tmp_path / "taesd"


def by_hand(decoder, sampler, denoised):
    """What a pipeline with this VAE would make of the latents: TAESD takes them as the denoiser has them."""
    latents = unpack(denoised, 8, 12) if sampler.family == "flux" else denoised
    return (decoder.decode(latents).sample / 2 + 0.5).clamp(0, 1)


def test_a_look_is_the_tiny_decoders_image(model, decoder):
    sampler = load_sampler(model, **CALL, look_decoder=decoder)
    plain = load_sampler(model, **CALL)
    denoised = run(sampler, PROMPT, SEEDS)[0]
    with torch.no_grad():
        images = sampler.look(denoised)
        assert torch.equal(images, by_hand(AutoencoderTiny.from_pretrained(decoder), sampler, denoised))
        assert torch.equal(plain.look(denoised), plain.decode(denoised))
        assert torch.equal(sampler.decode(denoised), plain.decode(denoised))
    assert images.shape == (2, 3, 32, 48) and images.dtype == torch.float32
    assert not sampler.look_decoder.training and not any(p.requires_grad for p in sampler.look_decoder.parameters())
    found = sampler.describe()
    assert json.loads(json.dumps(found)) == found
    about = found.pop("look_decoder")
    assert about["name"] == "taesd" and about["version"].startswith("taesd@") and len(about) == 2
    assert found == plain.describe()
    few = sampler.variant(steps=1)
    assert few.look_decoder is sampler.look_decoder and few.describe()["look_decoder"] == about


def test_an_open_pipeline_takes_a_module_or_a_folder(decoder):
    pipe, module = tiny.sdxl(), tiny.taesd().eval()
    latents = torch.randn(1, 4, 16, 24, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        by_module, by_folder = (wrap_pipeline(pipe, **CALL, look_decoder=given) for given in (module, decoder))
        assert torch.equal(by_module.look(latents), by_folder.look(latents))
    assert by_module.describe()["look_decoder"] == {"name": "AutoencoderTiny"}
    assert by_folder.describe()["look_decoder"]["name"] == "taesd"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_decoder_has_the_dtype_of_the_model(decoder, tmp_path, dtype):
    folder = tiny.save(tiny.sdxl(), tmp_path / "m")
    sampler = load_sampler(folder, **CALL, dtype=dtype, look_decoder=decoder, slicing=True)
    latents = torch.randn(2, 4, 16, 24, generator=torch.Generator().manual_seed(0))
    assert sampler.look_decoder.dtype == dtype and sampler.look_decoder.use_slicing
    images = sampler.look(latents)
    assert images.dtype == torch.float32
    exact = load_sampler(folder, **CALL, look_decoder=decoder).look(latents)
    torch.testing.assert_close(images, exact, rtol=0, atol=0.03)


def refused(folder, path) -> str:
    with pytest.raises(BadInput) as error:
        load_sampler(folder, **CALL, look_decoder=path)
    assert "\n" not in str(error.value)
    return str(error.value)


def change(decoder, edit):
    """Edit the tensors of a folder."""
    file = decoder / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    edit(tensors)
    save_file(tensors, file, metadata={"format": "pt"})


def test_refusals(decoder, tmp_path):
    folder = tiny.save(tiny.sdxl(), tmp_path / "m")
    assert "no such folder" in refused(folder, tmp_path / "nowhere")
    assert "no readable config.json" in refused(folder, folder)
    assert "this is a AutoencoderKL; expected AutoencoderTiny" in refused(folder, f"{folder}/vae")
    for name, config, says in (
        ("channels", {"latent_channels": 16}, "16 channels of latents, the model's VAE has 4"),
        ("scale", {"upsampling_scaling_factor": 4}, "4 pixels per latent, the model's VAE has 2"),
        ("grey", {"out_channels": 1}, "1 channels of images, the model's VAE has 3"),
    ):
        tiny.taesd(**config).save_pretrained(tmp_path / name)
        assert says in refused(folder, tmp_path / name)
        with pytest.raises(BadInput, match=says):
            wrap_pipeline(tiny.sdxl(), **CALL, look_decoder=tiny.taesd(**config))
    with pytest.raises(BadInput, match="this is a AutoencoderKL"):
        wrap_pipeline(tiny.sdxl(), **CALL, look_decoder=tiny.sdxl().vae)
    change(decoder, lambda tensors: tensors["decoder.layers.0.weight"].fill_(float("nan")))
    assert "decoder.layers.0.weight holds values that are no finite numbers" in refused(folder, decoder)
    change(decoder, lambda tensors: tensors.update(odd=torch.zeros(1)))
    assert "odd is not of this model" in refused(folder, decoder)
    change(decoder, lambda tensors: tensors.pop("decoder.layers.0.weight"))
    assert "decoder.layers.0.weight is missing" in refused(folder, decoder)
    (decoder / "diffusion_pytorch_model.safetensors").unlink()
    assert "no diffusion_pytorch_model.safetensors" in refused(folder, decoder)


def test_cost_is_what_the_look_does(model, decoder):
    sampler = load_sampler(model, **CALL, look_decoder=decoder)
    found = cost.sampler_cost(sampler)
    assert found == cost.sampler_cost(load_sampler(model, **CALL)) | {
        "look_decode": cost.count_flop(sampler.look, sampler.init([0])) / 1e12
    }


@pytest.mark.parametrize("latent_channels", [4, 16])
def test_published_cost(latent_channels):
    """TAESD has the defaults of its class: an eighteenth of the VAE's 2.51 TFLOP at 512×512, 10.5 at 1024×1024."""
    published = cost.on_meta(AutoencoderTiny, {"latent_channels": latent_channels})
    for side, tflop in ((64, 0.1414), (128, 0.5654)):
        found = cost.decode_flop(published, rows=side, columns=side) / 1e12
        assert found == pytest.approx(tflop, rel=1e-3)
