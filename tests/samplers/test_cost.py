"""FLOP counted from configs alone, against figures computed by hand or measured elsewhere."""

import json

import pytest
import tiny
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, FluxTransformer2DModel, UNet2DConditionModel
from transformers import CLIPConfig

from ttsnap.cli import main
from ttsnap.samplers import cost, load_sampler
from ttsnap.samplers.architectures import ARCHITECTURES, FLUX_TRANSFORMER, PRESET_FAMILIES, PUBLISHED_VAE, SDXL_UNET
from ttsnap.settings.presets import PRESETS

AT_512 = {"rows": 64, "columns": 64}


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_attention_is_counted(device):
    q, k = (torch.zeros(2, 4, n, 16, device=device) for n in (100, 60))
    # two products of 100 × 60 × 16, for 2 × 4 heads, 2 FLOP per multiply-add
    assert cost.count_flop(F.scaled_dot_product_attention, q, k, k) == 2 * 2 * (2 * 4) * 100 * 60 * 16


def test_linear_layer_and_convolution_by_hand():
    assert cost.count_flop(torch.nn.Linear(7, 5), torch.zeros(3, 7)) == 2 * 3 * 7 * 5
    convolution = torch.nn.Conv2d(4, 6, 3, padding=1)
    assert cost.count_flop(convolution, torch.zeros(1, 4, 8, 8)) == 2 * 6 * 4 * 9 * 64


def test_flux_step_at_512():
    flux = cost.on_meta(FluxTransformer2DModel, FLUX_TRANSFORMER)
    config = flux.config
    assert (config.num_layers, config.num_single_layers, config.num_attention_heads) == (19, 38, 24)
    flop = cost.denoiser_flop(flux, **AT_512, text_tokens=512)
    assert flop / 1e12 == pytest.approx(21.5, abs=0.05)
    # by hand: the blocks' matrix products, 2 FLOP per weight and token (12 d² and 12 d² per
    # stream in a joint block, 12 d² in a single one), and 4·tokens²·d for attention
    d, tokens = 3072, 1024 + 512
    blocks = (19 * 12 + 38 * 12) * d**2 * 2 * tokens + 57 * 4 * tokens**2 * d
    assert flop == pytest.approx(blocks, rel=0.01)


def test_sdxl_step_at_512():
    unet = cost.on_meta(UNet2DConditionModel, SDXL_UNET)
    both = cost.denoiser_flop(unet, **AT_512, text_tokens=77)
    assert both / 1e12 == pytest.approx(3.18, abs=0.005)
    assert cost.denoiser_flop(unet, **AT_512, text_tokens=77, guided=False) * 2 == both


@pytest.mark.parametrize("latent_channels", [4, 16])
def test_decode_at_512(latent_channels):
    vae = cost.on_meta(AutoencoderKL, {**PUBLISHED_VAE, "latent_channels": latent_channels})
    assert cost.decode_flop(vae, **AT_512) / 1e12 == pytest.approx(2.51, abs=0.005)


def test_clip_h():
    text = {"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16}
    vision = {"hidden_size": 1280, "intermediate_size": 5120, "num_attention_heads": 16}
    config = CLIPConfig(
        text_config={**text, "num_hidden_layers": 24, "projection_dim": 1024},
        vision_config={**vision, "num_hidden_layers": 32, "patch_size": 14},
        projection_dim=1024,
    )
    assert cost.clip_flop(config) / 1e12 == pytest.approx(0.38, abs=0.005)


@pytest.mark.parametrize(
    ("preset", "family", "denoise"),
    [
        ("flux-dev", "flux", 21.5),
        ("sdxl-base", "sdxl", 3.18),
        ("sdxl-turbo", "sdxl", 1.59),
        ("hyper-sd15", "sd15", 0.8),
    ],
)
def test_presets_need_no_files(preset, family, denoise, tmp_path, monkeypatch):
    """At the preset's own size and guidance; nothing is downloaded."""
    monkeypatch.chdir(tmp_path)
    assert main(["cost", "--model", preset, "--json", "cost.json"]) == 0
    found = json.loads((tmp_path / "cost.json").read_text())
    assert (found["family"], found["height"], found["width"]) == (family, 512, 512)
    assert found["denoise"] == pytest.approx(denoise, rel=0.01)
    assert found["decode"] == pytest.approx(2.51, abs=0.005)


def test_every_preset_has_an_architecture():
    assert PRESET_FAMILIES.keys() == PRESETS.keys() and set(PRESET_FAMILIES.values()) <= ARCHITECTURES.keys()


@pytest.mark.parametrize(("build", "guidance"), [(tiny.sdxl, 5.0), (tiny.sdxl, 1.0), (tiny.flux, 3.5)])
def test_sampler_cost_is_what_its_step_and_decode_do(build, guidance, tmp_path, capsys):
    folder = tiny.save(build(), tmp_path / "model")
    size = {"height": 32, "width": 48, "guidance": guidance}
    sampler = load_sampler(folder, steps=3, **size)
    measured = cost.sampler_cost(sampler)
    latents, condition = sampler.init([0]), sampler.encode("a red circle")
    assert measured == {
        "denoise": cost.count_flop(sampler.step, 0, latents, condition) / 1e12,
        "decode": cost.count_flop(sampler.decode, latents) / 1e12,
    }
    for weights in (tmp_path / "model").rglob("*.safetensors"):
        weights.unlink()
    family = {"family": sampler.family, "height": 32, "width": 48}
    assert cost.folder_cost(folder, **size) == family | measured
    options = [f"--{key}={value}" for key, value in size.items()]
    out = tmp_path / "cost.json"
    assert main(["cost", "--model", folder, *options, "--json", str(out)]) == 0
    assert json.loads(out.read_text()) == family | measured
    assert f"{measured['denoise']:.4g} TFLOP" in capsys.readouterr().out


def test_bad_input_is_one_line(tmp_path, capsys):
    folder = tiny.save(tiny.sdxl(), tmp_path / "model")
    (tmp_path / "empty").mkdir()
    text_encoder = f"{folder}/text_encoder"
    for options in (
        ["--model", str(tmp_path / "missing")],
        ["--model", str(tmp_path / "empty")],
        ["--model", folder, "--family", "flux"],
        ["--model", "black-forest-labs/FLUX.1-dev"],
        ["--model", "flux-dev", "--family", "sdxl"],
        ["--model", "flux-dev", "--height", "520"],
        ["--model", folder, "--height", "33"],
        ["--model", folder, "--reward", str(tmp_path / "empty")],
        ["--model", folder, "--reward", text_encoder],
    ):
        capsys.readouterr()
        assert main(["cost", *options]) == 2
        assert len(capsys.readouterr().err.strip().splitlines()) == 1
    for config in ("{}", '{"block_out_channels": 3}', "not JSON"):
        (tmp_path / "model/unet/config.json").write_text(config)
        assert main(["cost", "--model", folder]) == 2
