"""The loops against diffusers' own pipelines, on tiny random models of both families."""

import hashlib
import json
import warnings

import pytest
import tiny
import torch
from diffusers import DDPMPipeline, DiffusionPipeline, UNet2DModel
from transformers import CLIPTokenizer, T5Tokenizer

from ttsnap.cli import main
from ttsnap.errors import BadInput
from ttsnap.samplers import candidate_seed, load_sampler, run
from ttsnap.samplers.flux import pack, unpack

STEPS, SIZE = 4, {"height": 32, "width": 48}
PROMPT, SEEDS = "a red circle", [11, 2**62 + 5, 7]
LATENT_STATISTICS = {"scaling_factor": 0.5, "latents_mean": [0.5, -0.2, 0.1, 0.3], "latents_std": [2.0, 0.7, 1.1, 0.4]}
# name: (pipeline, guidance)
MODELS = {
    "sdxl-epsilon": (tiny.sdxl, 5.0),
    "sdxl-v": (lambda: tiny.sdxl("v_prediction", zeros=False, vae=LATENT_STATISTICS), 3.0),
    "sdxl-unguided": (lambda: tiny.sdxl("v_prediction"), 1.0),
    "flux-dev": (tiny.flux, 3.5),
    "flux-schnell": (lambda: tiny.flux(False, False), 0.0),
}


@pytest.fixture(scope="module", params=MODELS)
def model(request, tmp_path_factory):
    """(sampler, diffusers pipeline) of the same folder."""
    build, guidance = MODELS[request.param]
    folder = tiny.save(build(), tmp_path_factory.mktemp("models") / request.param)
    pipe = DiffusionPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    return load_sampler(folder, steps=STEPS, guidance=guidance, **SIZE), pipe


@pytest.fixture(scope="module", params=[tiny.sdxl, tiny.flux], ids=["sdxl", "flux"])
def sampler(request, tmp_path_factory):
    folder = tiny.save(request.param(), tmp_path_factory.mktemp("models"))
    return load_sampler(folder, steps=STEPS, guidance=3.0, **SIZE)


def pipeline_run(pipe, sampler, output_type="latent"):
    """The pipeline's own output for SEEDS, and every call of its scheduler's step."""
    calls, true_step = [], pipe.scheduler.step

    def step(output, timestep, sample, **kwargs):
        result = true_step(output, timestep, sample, **kwargs)
        sigma = pipe.scheduler.sigmas[pipe.scheduler.step_index - 1]
        calls.append({"output": output, "sample": sample, "sigma": sigma, "result": result})
        return result

    pipe.scheduler.step = step
    try:
        images = pipe(
            PROMPT,
            num_inference_steps=sampler.steps,
            guidance_scale=sampler.guidance,
            num_images_per_prompt=len(SEEDS),
            generator=[torch.Generator().manual_seed(seed) for seed in SEEDS],
            output_type=output_type,
            **SIZE,
        ).images
    finally:
        pipe.scheduler.step = true_step
    return images, calls


def tweedie_run(sampler, seeds=SEEDS, **kwargs):
    """Final latents and all Tweedie latents [steps, n, …]."""
    seen = []
    latents, ids = run(sampler, PROMPT, seeds, lambda s, ids, x: seen.append(x), **kwargs)
    assert ids == list(range(len(seeds)))
    return latents, torch.stack(seen)


def close(a, b):
    torch.testing.assert_close(a, b, rtol=0, atol=1e-5 * b.abs().max().item(), check_device=False)


def test_equals_the_pipeline_at_every_step(model):
    sampler, pipe = model
    final, calls = pipeline_run(pipe, sampler)
    latents, denoised = tweedie_run(sampler)
    close(latents, final)
    assert torch.equal(latents, denoised[-1])
    close(sampler.init(SEEDS), calls[0]["sample"])
    for s, call in enumerate(calls):
        if sampler.family == "sdxl":  # the scheduler's own pred_original_sample
            close(denoised[s], call["result"][1])
        else:
            close(denoised[s], call["sample"] - call["sigma"] * call["output"])


def test_images_equal_the_pipeline(model):
    sampler, pipe = model
    images, _ = pipeline_run(pipe, sampler, output_type="pt")
    decoded = sampler.decode(run(sampler, PROMPT, SEEDS)[0])
    assert decoded.shape == (len(SEEDS), 3, SIZE["height"], SIZE["width"])
    torch.testing.assert_close(decoded, images, rtol=0, atol=1e-5)


def test_a_candidate_does_not_depend_on_its_batch(sampler):
    latents, denoised = tweedie_run(sampler)
    for batch_size in (1, 2):
        close(tweedie_run(sampler, batch_size=batch_size)[1], denoised)
    close(tweedie_run(sampler, SEEDS[::-1])[1].flip(1), denoised)
    close(tweedie_run(sampler, [99, SEEDS[1]])[1][:, 1], denoised[:, 1])


@pytest.mark.parametrize("batch_size", [None, 2])
def test_dropping_does_not_change_the_survivors(sampler, batch_size):
    seeds = [3, 1, 4, 15, 92]
    final, denoised = tweedie_run(sampler, seeds)
    left = {0: [0, 1, 2, 3, 4], 1: [0, 1, 2, 3, 4], 2: [4, 1, 3], 3: [1, 3]}

    def on_step(s, ids, x):
        assert ids == left[s]
        close(x, denoised[s][ids])
        return {0: None, 1: [4, 1, 3], 2: torch.tensor([False, True, True]), 3: None}[s]

    latents, ids = run(sampler, PROMPT, seeds, on_step, batch_size=batch_size)
    assert ids == [1, 3]
    close(latents, final[ids])


def test_dropping_all_candidates_ends_the_run(sampler):
    steps = []
    latents, ids = run(sampler, PROMPT, [1, 2], lambda s, *_: steps.append(s) or [])
    assert (len(latents), ids, steps) == (0, [], [0])
    with pytest.raises(ValueError, match="mask of 3 for 2"):
        run(sampler, PROMPT, [1, 2], lambda *_: [True, False, True])


def test_gradient_flows_from_the_image_to_the_noise(sampler):
    latents = sampler.init([1, 2]).requires_grad_()
    x, condition = latents, sampler.encode(PROMPT)
    for s in range(2):
        x, denoised = sampler.step(s, x, condition)
    images = sampler.decode(denoised, clamp=False)
    (gradient,) = torch.autograd.grad(images[0].square().sum(), latents)
    assert gradient[0].abs().max() > 0
    assert not gradient[1].any(), "candidates of a batch must not see each other"


def test_decode_clamps_only_when_asked(sampler):
    wild = 50 * sampler.init([1])
    raw = sampler.decode(wild, clamp=False)
    assert raw.min() < 0 and raw.max() > 1
    assert torch.equal(sampler.decode(wild), raw.clamp(0, 1))


def test_latents_are_float32_whatever_the_models_dtype(sampler, tmp_path):
    folder = tiny.save(sampler.pipe, tmp_path)
    half = load_sampler(folder, steps=STEPS, guidance=3.0, dtype="bfloat16", **SIZE)
    latents, denoised = tweedie_run(half)
    assert half.denoiser.dtype == torch.bfloat16
    assert latents.dtype == denoised.dtype == half.decode(latents).dtype == torch.float32
    assert torch.equal(half.init(SEEDS), sampler.init(SEEDS))


def test_description_is_json_without_paths(sampler, tmp_path):
    folder = tiny.save(sampler.pipe, tmp_path / "my-model")
    described = load_sampler(folder, steps=STEPS, guidance=3.0, **SIZE).describe()
    assert json.loads(json.dumps(described)) == described
    assert described["model"] == "my-model" and str(tmp_path) not in str(described)
    assert described["prediction_type"] in ("epsilon", "flow")
    assert (described["steps"], described["guidance"]) == (STEPS, 3.0)


@pytest.mark.parametrize("prompt", ["", "赤い円 🟥 ", "x" * 10_000, "a\tb\n" * 400])
def test_any_prompt_is_encoded(sampler, prompt):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        sampler.encode(prompt)
    messages = [str(w.message) for w in caught if "the model reads the first" in str(w.message)]
    assert len(messages) == (len(prompt) > 100)
    assert all(prompt[:3].encode("unicode_escape").decode() in m for m in messages)
    assert all(len(m) < 200 for m in messages)


def test_tokenizers_survive_saving(tmp_path):
    for tokenizer in (tiny.clip_tokenizer(), tiny.t5_tokenizer()):
        tokenizer.save_pretrained(tmp_path)
        cls = CLIPTokenizer if isinstance(tokenizer, CLIPTokenizer) else T5Tokenizer
        again = cls.from_pretrained(tmp_path)
        assert again("A red circle!").input_ids == tokenizer("A red circle!").input_ids
        assert again.model_max_length == tokenizer.model_max_length


def test_candidate_seed():
    digest = hashlib.sha256(b'[1, "a \\u8d64", 2]').digest()
    assert candidate_seed(1, "a 赤", 2) == int.from_bytes(digest[:8], "big") // 2
    seeds = {candidate_seed(r, p, c) for r in (0, 1) for p in ("", "1", "\ud800") for c in range(9)}
    assert len(seeds) == 2 * 3 * 9 and all(0 <= seed < 2**63 for seed in seeds)


def test_pack_and_unpack_are_inverse():
    latents = torch.arange(2 * 4 * 6 * 8.0).view(2, 4, 6, 8)
    assert torch.equal(unpack(pack(latents), 3, 4), latents)
    assert pack(latents)[0, 1, :4].tolist() == latents[0, 0, :2, 2:4].flatten().tolist()


def test_nan_pixels_are_an_error_not_black_images(tmp_path, capsys):
    (tmp_path / "p.txt").write_text("a red circle\n")
    command = ["generate", str(tmp_path / "p.txt"), "--out", str(tmp_path / "s.h5"), "--model", "embedded:shapes-sdxl"]
    command += ["--steps", "2", "--height", "64", "--width", "64", "--guidance", "1e38", "--candidates"]
    assert main([*command, "1"]) == 1
    assert "no numbers for prompt 'a red circle'; try dtype" in capsys.readouterr().err
    assert not (tmp_path / "s.h5").exists()
    assert main([*command, "0"]) == 2


def test_bad_input(tmp_path):
    good = tiny.save(tiny.sdxl(), tmp_path / "good")
    other = tmp_path / "other"
    DDPMPipeline(UNet2DModel(8, block_out_channels=(32,) * 4), tiny.sdxl().scheduler).save_pretrained(other)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/model_index.json").write_text("{")
    options = {"steps": 4, "guidance": 2.0, **SIZE}
    for path, change, message in (
        (tmp_path / "missing", {}, "no such model folder"),
        (tmp_path / "broken", {}, "model_index.json"),
        (other, {}, "DDPMPipeline; expected StableDiffusionXLPipeline or FluxPipeline"),
        (good, {"family": "flux"}, "StableDiffusionXLPipeline; expected FluxPipeline"),
        (good, {"family": "sd3"}, "family: 'sd3' is not one of sdxl, flux"),
        (good, {"height": 33}, "height: 33 is not a multiple of 2"),
        (good, {"width": 0}, "width"),
        (good, {"steps": 0}, "steps"),
        (good, {"steps": 1001}, "steps"),
        (good, {"device": "nowhere"}, "device: nowhere"),
        (good, {"dtype": "int8"}, "dtype"),
    ):
        with pytest.raises(BadInput, match=message) as error:
            load_sampler(path, **options | change)
        assert "\n" not in str(error.value)
    weights = tmp_path / "good/unet/diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(BadInput, match="safetensors: damaged weights"):
        load_sampler(good, **options)
