"""A model that our loops would sample otherwise than its pipeline is refused in one line; others open."""

import json
import math
import shutil

import diffusers
import numpy as np
import pytest
import tiny
import torch
from diffusers.pipelines.flux.pipeline_flux import calculate_shift
from safetensors.torch import load_file, save_file

from ttsnap.errors import BadInput
from ttsnap.models import EMBEDDED, check_model
from ttsnap.models.checks import check_folder, own_size
from ttsnap.rewards.base import load_reward
from ttsnap.samplers import load_sampler, wrap_pipeline
from ttsnap.samplers.cost import folder_cost
from ttsnap.sft.pipeline import _native_size

SIZE = {"height": tiny.PIXELS, "width": tiny.PIXELS}
CALL = {"steps": 2, "guidance": 2.0, **SIZE}
CONFIG = {"scheduler": "scheduler/scheduler_config.json", "": "model_index.json"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return {name: tiny.save(getattr(tiny, name)(), root / name) for name in ("sdxl", "sd15", "flux")}


@pytest.fixture
def model(folders, tmp_path):
    """A function that copies a model of a family to a fresh folder."""
    return lambda family: shutil.copytree(folders[family], tmp_path / "model")


def edit(folder, part: str, **values) -> None:
    path = folder / CONFIG.get(part, f"{part}/config.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def refused(call) -> str:
    with pytest.raises(BadInput) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


# (family, part, what its config says) → what is said of it
KINDS = [
    ("sdxl", "unet", {"time_cond_proj_dim": 256}, "unet: takes the guidance as an embedding"),
    ("sd15", "unet", {"time_cond_proj_dim": 256}, "unet: takes the guidance as an embedding"),
    ("sdxl", "unet", {"in_channels": 9}, "unet: in_channels is 9 for 4 channels"),
    ("sd15", "unet", {"in_channels": 8}, "unet: in_channels is 8 for 4 channels"),
    ("sd15", "unet", {"in_channels": 5}, "unet: in_channels is 5 for 4 channels"),
    ("sdxl", "unet", {"out_channels": 8}, "unet: out_channels is 8 for 4 channels"),
    ("sd15", "unet", {"class_embed_type": "timestep"}, "unet: class_embed_type is timestep"),
    ("sd15", "unet", {"num_class_embeds": 1000}, "unet: num_class_embeds is 1000"),
    ("sdxl", "unet", {"encoder_hid_dim_type": "ip_image_proj"}, "unet: encoder_hid_dim_type"),
    ("sdxl", "unet", {"addition_embed_type": None}, "addition_embed_type is None; expected text_"),
    ("sd15", "unet", {"addition_embed_type": "text_time"}, "text_time; expected None"),
    ("sdxl", "unet", {"addition_embed_type": "text_image"}, "expected text_time"),
    ("sdxl", "unet", {"cross_attention_dim": 16}, "unet: takes texts of width 16; its text"),
    ("sd15", "unet", {"cross_attention_dim": 32}, "unet: takes texts of width 32; its text"),
    ("sdxl", "unet", {"projection_class_embeddings_input_dim": 56}, "a refiner?"),
    ("sdxl", "unet", {"sample_size": [16]}, "sample_size is"),
    ("sdxl", "unet", {"_class_name": "UNetMotionModel"}, "unet: its config is that of a UNetMotion"),
    ("sdxl", "", {"requires_aesthetics_score": True}, "unet: takes an aesthetic score"),
    ("sdxl", "", {"unet": ["diffusers", "UNetMotionModel"]}, "unet: this is a UNetMotionModel"),
    ("sdxl", "", {"vae": ["diffusers", "AutoencoderTiny"]}, "vae: this is a AutoencoderTiny"),
    ("sd15", "", {"vae": ["diffusers", "AsymmetricAutoencoderKL"]}, "vae: this is a Asymmetric"),
    ("sd15", "", {"vae": ["diffusers", "ConsistencyDecoderVAE"]}, "vae: this is a Consistency"),
    ("sdxl", "", {"text_encoder_2": ["transformers", "CLIPTextModel"]}, "text_encoder_2: this is a"),
    ("sdxl", "vae", {"latent_channels": 16}, "unet: in_channels is 4 for 16 channels"),
    ("sdxl", "vae", {"out_channels": 4}, "vae: out_channels is 4; expected 3"),
    ("sdxl", "vae", {"shift_factor": 0.1}, "vae: shift_factor is 0.1, which its pipeline does not"),
    ("sdxl", "vae", {"latents_mean": [0.1], "latents_std": [1]}, "vae: latents_mean has 1 numbers"),
    ("sd15", "vae", {"latents_mean": [0.1] * 4}, "vae: latents_mean is"),
    ("flux", "vae", {"latents_std": [0.1] * 4}, "vae: latents_std is"),
    ("flux", "transformer", {"in_channels": 96}, "FLUX Fill, Depth, Canny"),
    ("flux", "transformer", {"in_channels": 32, "out_channels": 16}, "transformer: in_channels is 32"),
    ("flux", "transformer", {"patch_size": 2}, "transformer: patch_size is 2"),
    ("flux", "transformer", {"joint_attention_dim": 8}, "joint_attention_dim is 8; text_encoder_2"),
    ("flux", "transformer", {"pooled_projection_dim": 8}, "pooled_projection_dim is 8; text_enc"),
    ("flux", "", {"_class_name": "FluxKontextPipeline"}, "this is a FluxKontextPipeline; expected"),
    ("sdxl", "", {"_class_name": "StableDiffusionXLImg2ImgPipeline"}, "Img2ImgPipeline; expected"),
    ("sdxl", "", {"_class_name": ["x", "Own"]}, "expected StableDiffusionXLPipeline or"),
    *[
        (family, "", {"scheduler": ["diffusers", name]}, f"scheduler: {name} is not one")
        for family, name in [
            ("sdxl", "EDMEulerScheduler"), ("sdxl", "EDMDPMSolverMultistepScheduler"),
            ("sdxl", "LCMScheduler"), ("sd15", "LCMScheduler"), ("sdxl", "TCDScheduler"),
            ("sdxl", "FlowMatchEulerDiscreteScheduler"), ("sd15", "CosineDPMSolverMultistepScheduler"),
            ("sd15", "DDIMInverseScheduler"), ("flux", "EulerDiscreteScheduler"),
            ("flux", "FlowMatchHeunDiscreteScheduler"), ("flux", "UniPCMultistepScheduler"),
        ]
    ],
    ("sdxl", "scheduler", {"prediction_type": "flow_prediction"}, "prediction_type is flow_predict"),
    ("sdxl", "scheduler", {"prediction_type": "original_sample"}, "only epsilon or v_prediction or"),
    ("sdxl", "scheduler", {"beta_schedule": "sigmoid"}, "beta_schedule is sigmoid"),
    ("sdxl", "scheduler", {"timestep_spacing": "odd"}, "timestep_spacing is odd"),
    ("sdxl", "scheduler", {"final_sigmas_type": "sigma_min"}, "final_sigmas_type is sigma_min"),
    ("sdxl", "scheduler", {"interpolation_type": "log_linear"}, "interpolation_type is log_linear"),
    ("sd15", "scheduler", {"thresholding": True}, "thresholding is True"),
    ("sd15", "scheduler", {"use_lu_lambdas": True}, "use_lu_lambdas is True"),
    ("sd15", "scheduler", {"use_flow_sigmas": True}, "use_flow_sigmas is True"),
    ("flux", "scheduler", {"stochastic_sampling": True}, "stochastic_sampling is True"),
    ("flux", "scheduler", {"invert_sigmas": True}, "invert_sigmas is True"),
    ("sdxl", "vae", {"latents_mean": 5}, "its configs do not make a model"),
    ("sdxl", "unet", {"projection_class_embeddings_input_dim": "x"}, "a refiner?"),
]  # fmt: skip
LEFT_OUT = [
    (family, "", {part: entry}, f"{part}: is missing; the pipeline needs it")
    for family, parts in {
        "sdxl": "unet vae text_encoder text_encoder_2 tokenizer tokenizer_2 scheduler",
        "sd15": "unet vae text_encoder tokenizer scheduler",
        "flux": "transformer vae text_encoder text_encoder_2 tokenizer tokenizer_2 scheduler",
    }.items()
    for part in parts.split()
    for entry in ([None, None], None)
]


@pytest.mark.parametrize(("family", "part", "values", "says"), [*KINDS, *LEFT_OUT])
def test_an_unsupported_kind_is_refused_by_generate_cost_and_the_config(model, family, part, values, says):
    folder = model(family)
    edit(folder, part, **values)
    for call in (
        lambda: load_sampler(folder, **CALL),
        lambda: folder_cost(folder),
        lambda: check_model(str(folder), "model.path"),
    ):
        assert says in refused(call)


def scheduler(name: str, **options):
    return lambda pipe: pipe.register_modules(scheduler=getattr(diffusers, name)(**options))


def lacks(part: str):
    return lambda pipe: pipe.register_modules(**{part: None})


def says_config(part: str, **values):
    return lambda pipe: getattr(pipe, part).register_to_config(**values)


OPEN = [
    ("sdxl", scheduler("EDMEulerScheduler"), "scheduler: EDMEulerScheduler is not one"),
    ("sdxl", scheduler("LCMScheduler"), "scheduler: LCMScheduler is not one"),
    ("sdxl", scheduler("DDPMScheduler"), "scheduler: clip_sample is True"),
    ("sd15", scheduler("DDIMParallelScheduler"), "scheduler: clip_sample is True"),
    ("sd15", scheduler("DDIMScheduler", thresholding=True), "scheduler: thresholding is True"),
    ("sdxl", scheduler("DPMSolverMultistepScheduler", use_lu_lambdas=True), "use_lu_lambdas"),
    ("flux", scheduler("FlowMatchEulerDiscreteScheduler", stochastic_sampling=True), "stochastic"),
    ("sdxl", lacks("text_encoder"), "text_encoder: is missing"),
    ("flux", lacks("tokenizer_2"), "tokenizer_2: is missing"),
    ("sd15", says_config("unet", time_cond_proj_dim=8), "unet: takes the guidance"),
    ("sdxl", says_config("unet", encoder_hid_dim_type="ip_image_proj"), "encoder_hid_dim_type"),
]


@pytest.mark.parametrize(("family", "change", "says"), OPEN)
def test_an_open_pipeline_of_an_unsupported_kind_is_refused(family, change, says):
    pipe = getattr(tiny, family)()
    change(pipe)
    assert says in refused(lambda: wrap_pipeline(pipe, steps=2, guidance=2.0))


def test_a_subclass_of_a_pipeline_is_refused():
    class Own(diffusers.StableDiffusionPipeline):
        pass

    pipe = tiny.sd15()
    pipe.__class__ = Own
    assert "this is a Own" in refused(lambda: wrap_pipeline(pipe, steps=2, guidance=2.0))


def weights(folder, part: str):
    (file,) = (folder / part).glob("*.safetensors")
    return file


def lacking_beside_a_variant(folder, part="text_encoder"):
    file = weights(folder, part)
    state = load_file(file)
    save_file(state, file.with_name(file.name.replace(".safetensors", ".fp16.safetensors")))
    del state[next(name for name in state if name.endswith("final_layer_norm.bias"))]
    save_file(state, file, metadata={"format": "pt"})


def changed(part: str, change):
    def harm(folder):
        state = load_file(file := weights(folder, part))
        change(state)
        save_file(state, file, metadata={"format": "pt"})

    return harm


def spoil(value: float):
    def change(state):
        state[sorted(state)[0]].flatten()[0] = value

    return change


def renamed(part: str, new: str):
    return lambda folder: weights(folder, part).rename(folder / part / new)


def sharded(folder, part="unet"):
    file = weights(folder, part)
    diffusers.UNet2DConditionModel.from_pretrained(folder / part).save_pretrained(folder / part, max_shard_size="300KB")
    file.unlink(missing_ok=True)
    return sorted((folder / part).glob("*-of-*.safetensors"))


def a_shard_gone(folder):
    sharded(folder)[1].unlink()


def a_tensor_gone(folder):
    shard = sharded(folder)[0]
    state = load_file(shard)
    del state["conv_in.bias"]
    save_file(state, shard, metadata={"format": "pt"})


def cut(folder):
    file = weights(folder, "vae")
    file.write_bytes(file.read_bytes()[:-100])


def without(part: str, name: str = ""):
    def harm(folder):
        target = folder / part / name if name else folder / part
        target.unlink() if name else shutil.rmtree(target)

    return harm


HARMS = {
    "a tensor missing, a variant beside it": (lacking_beside_a_variant, "final_layer_norm.bias is missing"),
    "a shard missing": (a_shard_gone, "no such file; download it again"),
    "a tensor of the index missing": (a_tensor_gone, "conv_in.bias is missing; download it again"),
    "cut": (cut, "vae/diffusion_pytorch_model.safetensors: damaged weights"),
    "only a variant": (renamed("unet", "diffusion_pytorch_model.fp16.safetensors"), "only diffusion_pytorch"),
    "only a pickle": (renamed("text_encoder", "pytorch_model.bin"), "only weights in a pickle"),
    "a pickle of diffusers": (renamed("vae", "diffusion_pytorch_model.bin"), "only weights in a pickle"),
    "no weights": (without("unet", "diffusion_pytorch_model.safetensors"), "no diffusion_pytorch"),
    "no config": (without("unet", "config.json"), "unet/config.json: no such file"),
    "no scheduler": (without("scheduler"), "scheduler/scheduler_config.json: no such file"),
    "no vae": (without("vae"), "vae/config.json: no such file"),
    "no text encoder": (without("text_encoder_2"), "text_encoder_2/config.json: no such file"),
    "no tokenizer": (without("tokenizer_2"), "tokenizer_2: the words of the tokenizer are missing"),
    "no words": (without("tokenizer", "tokenizer.json"), "tokenizer: the words of the tokenizer"),
    "NaN": (changed("unet", spoil(math.nan)), "holds values that are no finite numbers"),
    "infinite": (changed("text_encoder_2", spoil(math.inf)), "holds values that are no finite"),
    "a tensor too many": (
        changed("unet", lambda state: state.update({"time_embedding.cond_proj.weight": torch.ones(64, 8)})),
        "time_embedding.cond_proj.weight is not of this model",
    ),
    "another shape": (
        changed("unet", lambda state: state.update({"conv_in.bias": torch.ones(3)})),
        "conv_in.bias",
    ),
    "another text encoder's shape": (
        changed("text_encoder", lambda s: s.update({sorted(s)[0]: torch.ones(3, 16)})),
        "this model does not open",
    ),
}  # fmt: skip


@pytest.mark.parametrize("harm", HARMS)
def test_an_incomplete_folder_is_refused(model, harm, capfd):
    folder = model("sdxl")
    spoils, says = HARMS[harm]
    spoils(folder)
    assert says in (line := refused(lambda: load_sampler(folder, **CALL))), line
    assert "LOAD REPORT" not in capfd.readouterr().err


def test_a_tokenizer_of_another_model_is_refused(model):
    folder = model("sdxl")
    path = folder / "tokenizer" / "tokenizer.json"
    table = json.loads(path.read_text())
    kept = dict(list(table["model"]["vocab"].items())[:100])
    table["model"]["vocab"] = kept | {k: v for k, v in table["model"]["vocab"].items() if "|" in k}
    path.write_text(json.dumps(table))
    assert "tokenizer: knows" in refused(lambda: load_sampler(folder, **CALL))


def test_unused_parts_may_be_missing(model):
    folder = model("sd15")
    edit(folder, "", safety_checker=["stable_diffusion", "StableDiffusionSafetyChecker"],
         feature_extractor=["transformers", "CLIPImageProcessor"], requires_safety_checker=True)  # fmt: skip
    assert load_sampler(folder, **CALL).steps == 2


def test_shards_and_embedded_models_open(model):
    folder = model("sdxl")
    whole = load_sampler(folder, **CALL)
    assert len(sharded(folder)) > 1
    again = load_sampler(folder, **CALL)
    for ours, theirs in zip(again.denoiser.parameters(), whole.denoiser.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    for name in ("shapes-sdxl", "shapes-onestep"):
        assert check_folder(EMBEDDED / name) == "sdxl"


def save_lora(folder):
    """Save a LoRA of a tiny UNet next to model_index.json."""
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    unet = tiny.sdxl().unet
    config = LoraConfig(r=2, target_modules=["to_q", "to_k"], init_lora_weights=False)
    unet.add_adapter(config)
    state = get_peft_model_state_dict(unet)
    diffusers.StableDiffusionXLPipeline.save_lora_weights(
        folder, {k: v.contiguous() for k, v in state.items()}, weight_name="my-lora.safetensors"
    )
    return folder / "my-lora.safetensors"


def test_a_lora_is_fused_and_one_that_does_not_fit_is_refused(model):
    folder = model("sdxl")
    plain = load_sampler(folder, **CALL).denoiser.state_dict()
    file = save_lora(folder)
    fused = load_sampler(folder, **CALL).denoiser.state_dict()
    moved = {name for name in plain if not torch.equal(plain[name], fused[name])}
    assert moved and all("to_q" in name or "to_k" in name for name in moved)
    state = load_file(file)
    for change in (
        {name.replace("unet.", "prior."): value for name, value in state.items()},
        {name.replace("attn2", "attn7"): value for name, value in state.items()},
        {"x": torch.ones(1)},
        {name: value[:, :-1].contiguous() for name, value in state.items()},
    ):
        save_file(change, file)
        line = refused(lambda: load_sampler(folder, **CALL))
        assert "my-lora.safetensors: this LoRA does not fit" in line
    file.write_text("<html>")
    assert "my-lora.safetensors" in refused(lambda: load_sampler(folder, **CALL))


VP = [
    ("HeunDiscreteScheduler", {}),
    ("KDPM2DiscreteScheduler", {}),
    ("PNDMScheduler", {}),
    ("LMSDiscreteScheduler", {}),
    ("DDIMScheduler", {"clip_sample": False, "timestep_spacing": "leading"}),
    ("DPMSolverMultistepScheduler", {"beta_schedule": "squaredcos_cap_v2"}),
    ("UniPCMultistepScheduler", {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}),
    ("EulerAncestralDiscreteScheduler", {"prediction_type": "v_prediction"}),
    ("DEISMultistepScheduler", {"trained_betas": np.linspace(0.001, 0.02, 1000).tolist()}),
]


@pytest.mark.parametrize(("name", "options"), VP)
def test_euler_takes_the_noise_levels_of_any_solver(model, name, options):
    """Also when its config leaves them to the defaults of its class, which differ from Euler's."""
    folder = model("sdxl")
    path = folder / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps({"_class_name": name, **options}))
    edit(folder, "", scheduler=["diffusers", name])
    euler = load_sampler(folder, **CALL, solver="euler").scheduler
    solver = getattr(diffusers, name).from_pretrained(folder / "scheduler")
    assert torch.equal(euler.alphas_cumprod, solver.alphas_cumprod)
    for key in ("prediction_type", "timestep_spacing", "steps_offset"):
        assert euler.config[key] == solver.config.get(key)


FLOW = [
    {"use_dynamic_shifting": True},
    {"shift": 3.0},
    {"use_karras_sigmas": True},
    {"use_exponential_sigmas": True},
    {"use_beta_sigmas": True},
    {"use_dynamic_shifting": True, "time_shift_type": "linear"},
    {"use_dynamic_shifting": True, "shift_terminal": 0.1},
]


@pytest.mark.parametrize("options", FLOW)
def test_flux_has_the_noise_levels_of_its_pipeline(options):
    pipe = tiny.flux()
    pipe.register_modules(scheduler=diffusers.FlowMatchEulerDiscreteScheduler(**options))
    sampler = wrap_pipeline(pipe, steps=4, guidance=2.0, **SIZE)
    pipe.scheduler.set_timesteps(sigmas=np.linspace(1, 1 / 4, 4), mu=calculate_shift(64))
    assert torch.equal(sampler.sigmas, pipe.scheduler.sigmas)
    assert torch.equal(sampler.timesteps, pipe.scheduler.timesteps)


def test_a_vae_that_overflows_in_float16_decodes_in_float32():
    """As SDXL's pipeline does for each image; wrapping leaves an open pipeline unchanged."""
    pipe = tiny.sdxl()
    pipe.vae.half()
    sampler = wrap_pipeline(pipe, steps=1, guidance=0, **SIZE)
    latents = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = sampler.decode(latents, clamp=False)
        pixels = sampler.encode_image(found.clamp(0, 1))
        assert pipe.vae.dtype == torch.float16 and pixels.dtype == torch.float32
        pipe.vae.float()
        assert torch.equal(found, sampler.decode(latents, clamp=False))


def test_guidance_that_has_no_effect_is_not_recorded():
    for embeds, recorded in ((True, 3.5), (False, 0.0)):
        pipe = tiny.flux(embeds, embeds)
        assert wrap_pipeline(pipe, steps=1, guidance=3.5).describe()["guidance"] == recorded


@pytest.mark.parametrize(
    ("value", "size"), [(16, (32, 32)), ([8, 16], (16, 32)), (None, (256, 256)), ((16, 8), (32, 16))]
)
def test_the_native_size_of_a_model(model, value, size):
    assert own_size({"sample_size": value}, 2) == size
    folder = model("sdxl")
    edit(folder, "unet", sample_size=value)
    found = folder_cost(folder)
    assert (found["height"], found["width"]) == size
    pipe = tiny.sdxl()
    pipe.unet.register_to_config(sample_size=value)
    sampler = wrap_pipeline(pipe, steps=1, guidance=0)
    assert (sampler.height, sampler.width) == size
    if size[0] == size[1]:
        assert _native_size(str(folder)) == size[0]
    else:
        assert "--size" in refused(lambda: _native_size(str(folder)))


REWARD = {
    "no words": (lambda folder: (folder / "tokenizer.json").unlink(), "tokenizer: knows 2 words"),
    "no tokenizer": (lambda folder: [path.unlink() for path in folder.glob("tokenizer*")], "tokenizer: knows 2 words"),
    "no processor": (lambda folder: (folder / "preprocessor_config.json").unlink(), "preprocessor"),
    "not normalised": (
        lambda folder: (folder / "preprocessor_config.json").write_text('{"do_normalize": false}'),
        "preprocessor_config.json",
    ),
    "no spread": (
        lambda folder: (folder / "preprocessor_config.json").write_text('{"image_std": [0, 1, 1]}'),
        "preprocessor_config.json: expected",
    ),
    "NaN": (lambda folder: changed("", spoil(math.nan))(folder), "no finite numbers"),
    "a tensor missing": (lambda folder: changed("", lambda s: s.pop("logit_scale"))(folder), "logit_scale is missing"),
    "only a pickle": (lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"), "reward"),
}


@pytest.mark.parametrize("harm", REWARD)
def test_an_incomplete_reward_is_refused(tmp_path, harm):
    folder = shutil.copytree(EMBEDDED / "shapes-clip", tmp_path / "reward")
    spoils, says = REWARD[harm]
    spoils(folder)
    line = refused(lambda: load_reward("pickscore", path=str(folder)))
    assert says in line and "reward" in line
