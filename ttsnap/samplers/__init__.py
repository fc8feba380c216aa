"""One sampling loop, `run`, for all model families, which share an interface: encode, init, step, decode."""

import warnings
from pathlib import Path

import torch
from diffusers import AutoencoderTiny, DiffusionPipeline

from ttsnap.errors import BadInput
from ttsnap.models import model_version
from ttsnap.models.assets import how_to_get
from ttsnap.models.checks import check_folder, own_size
from ttsnap.models.device import check_device
from ttsnap.models.weights import check_finite, quiet_libraries
from ttsnap.pruning.seeds import candidate_seed
from ttsnap.samplers.base import Sampler, to_bytes
from ttsnap.samplers.batches import MicroBatches
from ttsnap.samplers.flux import FluxSampler
from ttsnap.samplers.look import open_look_decoder
from ttsnap.samplers.loop import run
from ttsnap.samplers.sd15 import SD15Sampler
from ttsnap.samplers.sdxl import SDXLSampler
from ttsnap.samplers.whole import fuse_loras, open_models, place
from ttsnap.settings.negtome import NegToMe
from ttsnap.storage.files import one_line, read_json

__all__ = [
    "MicroBatches", "Sampler", "candidate_seed", "load_sampler", "run", "to_bytes", "wrap_pipeline",
]  # fmt: skip

FAMILIES: dict[str, type[Sampler]] = {c.family: c for c in (SDXLSampler, FluxSampler, SD15Sampler)}


def load_sampler(
    path: str | Path,
    *,
    family: str | None = None,
    steps: int,
    guidance: float,
    height: int,
    width: int,
    device: str | torch.device = "cpu",
    dtype: str | torch.dtype = "float32",
    offload: str = "none",
    compile: bool = False,
    slicing: bool = False,
    negtome: NegToMe | None = None,
    solver: str | None = None,
    karras: bool | None = None,
    look_decoder: str | Path | None = None,
) -> Sampler:
    """Open a diffusers folder (or hub id) of safetensors as a sampler.

    height, width in pixels; guidance ≤ 1 turns classifier-free guidance off (SDXL). offload, compile, slicing: see
    `place`. negtome: push the candidates of a group apart; one call of `run` is a group. solver, karras: as in the
    config. look_decoder: folder or hub id of an AutoencoderTiny for `Sampler.look`. A LoRA beside model_index.json
    (`*lora.safetensors`, as Hyper-SD is published) is fused in. Raises BadInput for a missing folder, a pipeline of
    another family, weights that do not open, and a size, solver, number of steps or device that is not available.
    """
    sampler_class = find_family(path, family)
    dtype = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if dtype not in (torch.float32, torch.float16, torch.bfloat16):
        raise BadInput("dtype: expected float32, float16 or bfloat16")
    check_device(device)
    if Path(path).is_dir():
        check_folder(path, sampler_class.family)
    # First, so that what is wrong with it is said at once.
    small = None if look_decoder is None else open_look_decoder(look_decoder, dtype, device)
    try:
        with quiet_libraries(), warnings.catch_warnings():  # torch_dtype: the name that all of diffusers < 1 knows
            warnings.simplefilter("ignore", FutureWarning)
            models = open_models(path, sampler_class.family, dtype)
            pipe = sampler_class.pipeline_class.from_pretrained(
                str(path), torch_dtype=dtype, use_safetensors=True, **models, **_unused(path)
            )
        fuse_loras(path, pipe)
        for part in models:
            check_finite(f"{path}: {part}", getattr(pipe, part))
    except BadInput:
        raise
    except Exception as error:  # a foreign folder can be broken in any way
        raise BadInput(f"{path}: this model does not open ({type(error).__name__}: {one_line(error)})") from error
    for module in pipe.components.values():
        if isinstance(module, torch.nn.Module):
            module.eval().requires_grad_(False)
    if pipe.vae.dtype == torch.float16 and pipe.vae.config.force_upcast:
        pipe.vae.float()
    place(pipe, sampler_class.denoiser_name, device, offload, compile, slicing)
    if slicing and small is not None:
        small.enable_slicing()
    how = {"steps": steps, "guidance": guidance, "solver": solver, "karras": karras}
    sampler = sampler_class(pipe, **how, height=height, width=width, name=_name(path))
    sampler.version = model_version(str(path))
    if small is not None:
        sampler.look_with(small, _name(look_decoder), model_version(str(look_decoder)))
    if negtome:
        sampler.push_apart(negtome)
    return sampler


def wrap_pipeline(
    pipe,
    *,
    steps: int,
    guidance: float,
    height: int | None = None,
    width: int | None = None,
    name: str = "pipeline",
    solver: str | None = None,
    karras: bool | None = None,
    look_decoder: AutoencoderTiny | str | Path | None = None,
) -> Sampler:
    """A sampler on an open diffusers pipeline, which is not changed.

    height, width in pixels, by default the model's. solver, karras: as in the config. look_decoder: for `Sampler.look`,
    open and on the same device, or its folder or hub id. Raises BadInput for a pipeline of no known family, and for a
    size, solver, number of steps or look decoder that the model does not take.
    """
    sampler_class = _class_for(type(pipe), "pipeline")
    usual = own_size(getattr(pipe, sampler_class.denoiser_name).config, pipe.vae_scale_factor)
    size = {"height": height or usual[0], "width": width or usual[1]}
    how = {"steps": steps, "guidance": guidance, "solver": solver, "karras": karras}
    sampler = sampler_class(pipe, **how, **size, name=name)
    if isinstance(look_decoder, str | Path):
        small = open_look_decoder(look_decoder, sampler.denoiser.dtype, sampler.device)
        sampler.look_with(small, _name(look_decoder), model_version(str(look_decoder)))
    elif look_decoder is not None:
        sampler.look_with(look_decoder, type(look_decoder).__name__)
    return sampler


def find_family(path: str | Path, family: str | None = None) -> type[Sampler]:
    """The sampler class for a diffusers folder or hub id. Raises BadInput where there is none."""
    if family is not None and family not in FAMILIES:
        raise BadInput(f"family: {family!r} is not one of {', '.join(FAMILIES)}")
    if not Path(path).is_dir() and (str(path).count("/") != 1 or str(path)[0] in "./~"):
        raise BadInput(f"{path}: no such model folder{_hint(path)}")
    try:
        pipeline = DiffusionPipeline.load_config(str(path))["_class_name"]
    except (OSError, ValueError, KeyError, TypeError):
        where = "this folder" if Path(path).is_dir() else "a folder or hub model of this name"
        raise BadInput(f"{path}: no readable model_index.json in {where}{_hint(path)}") from None
    return _class_for(pipeline, path, family)


def _class_for(pipeline: object, where: str | Path, family: str | None = None) -> type[Sampler]:
    """The sampler class for a pipeline class, or for its name in model_index.json (which may hold anything)."""
    classes = [c for name, c in FAMILIES.items() if family in (None, name)]
    for sampler_class in classes:
        if pipeline in (sampler_class.pipeline_class, sampler_class.pipeline_class.__name__):
            return sampler_class
    expected = " or ".join(c.pipeline_class.__name__ for c in classes)
    raise BadInput(f"{where}: this is a {getattr(pipeline, '__name__', pipeline)}; expected {expected}")


def _name(path: str | Path) -> str:
    """What files say of a model: a folder's name without its place, or a hub id."""
    return Path(path).resolve().name if Path(path).is_dir() else str(path)


def _hint(path: str | Path) -> str:
    """How to download a published model; "" for any other."""
    return f"; {how}" if (how := how_to_get(str(path))) else ""


def _unused(path: str | Path) -> dict[str, None]:
    """The parts that model_index.json names, no image needs and the folder lacks, each as None."""
    if not Path(path).is_dir():
        return {}
    index = read_json(Path(path, "model_index.json"), infinities=True)
    parts = ("safety_checker", "feature_extractor", "image_encoder")
    return {part: None for part in parts if part in index and not Path(path, part).exists()}
