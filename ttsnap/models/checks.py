"""Check, from its configs alone, that our loops sample a pipeline as its own `__call__` does.

Checks the parts that affect an image: denoiser, VAE, text encoders, tokenizers and scheduler. Imports neither torch nor
diffusers, so that a config's model is checked quickly, before any job.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from safetensors import safe_open

from ttsnap.errors import BadInput
from ttsnap.storage.files import one_line, read_json, reading

UNET, VAE, CLIP_TEXT = "UNet2DConditionModel", "AutoencoderKL", "CLIPTextModel"
SD15_PARTS = {"unet": UNET, "vae": VAE, "text_encoder": CLIP_TEXT}
# family → part → its class; several classes of tokenizer and scheduler will do
MODELS = {
    "sdxl": SD15_PARTS | {"text_encoder_2": "CLIPTextModelWithProjection"},
    "flux": {
        "transformer": "FluxTransformer2DModel",
        "vae": VAE,
        "text_encoder": CLIP_TEXT,
        "text_encoder_2": "T5EncoderModel",
    },
    "sd15": SD15_PARTS,
}
PIPELINES = {"sdxl": "StableDiffusionXLPipeline", "flux": "FluxPipeline", "sd15": "StableDiffusionPipeline"}
# Schedulers of variance-preserving diffusion; those that are not one of our solvers are replaced by Euler's method at
# the same noise levels.
NO_CLIPPING = (
    "EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "PNDMScheduler", "LMSDiscreteScheduler",
)  # fmt: skip
SCHEDULERS = (
    *NO_CLIPPING, "DDIMScheduler", "DDIMParallelScheduler", "DDPMScheduler",
    "DDPMParallelScheduler", "HeunDiscreteScheduler", "KDPM2DiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler", "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler", "DPMSolverSDEScheduler", "DEISMultistepScheduler",
    "UniPCMultistepScheduler", "SASolverScheduler",
)  # fmt: skip
FLOW_SCHEDULER = "FlowMatchEulerDiscreteScheduler"
# option → the values with which our loop does what the pipeline does
OPTIONS = {
    "prediction_type": ("epsilon", "v_prediction", "sample"),
    "beta_schedule": ("linear", "scaled_linear", "squaredcos_cap_v2"),
    "timestep_spacing": ("linspace", "leading", "trailing"),
    "timestep_type": ("discrete", "continuous"),
    "interpolation_type": ("linear",),
    "final_sigmas_type": ("zero",),
    "use_flow_sigmas": (False, None),
    "use_lu_lambdas": (False, None),
}
CLIPPING = {"thresholding": (False, None), "clip_sample": (False, None)}
CLIPS = {"clip_sample": (True, False, None)}  # our DDIM does so too
FLOW_OPTIONS = {
    "stochastic_sampling": (False, None),
    "invert_sigmas": (False, None),
    "time_shift_type": ("exponential", "linear"),
}
DIFFUSERS, TRANSFORMERS = "diffusion_pytorch_model", "model"  # how each library names its weights


def check_folder(folder: str | Path, family: str | None = None, weights: bool = True) -> str:
    """Check a diffusers folder's model_index.json, its parts' configs and, if `weights`, the headers of its weights.

    Returns the family. Raises BadInput, naming the part, for anything missing or of an unsupported kind.
    """
    folder = Path(folder)
    index = _table(folder / "model_index.json")
    found = index.get("_class_name")
    pipelines = {name: kind for kind, name in PIPELINES.items() if family in (None, kind)}
    if not isinstance(found, str) or found not in pipelines:
        raise BadInput(f"{folder}: this is a {found}; expected {' or '.join(pipelines)}")
    family = pipelines[found]
    classes = {part: _class_of(index.get(part)) for part in parts_of(family)}
    configs = {}
    for part in (*MODELS[family], "scheduler"):
        path = folder / part / ("scheduler_config.json" if part == "scheduler" else "config.json")
        configs[part] = _table(path) if weights or path.exists() else {}
    check_kind(folder, family, classes, configs | {"": index})
    if weights:
        for part in MODELS[family]:
            check_weights(folder / part, TRANSFORMERS if "text" in part else DIFFUSERS)
        for part in classes:
            if part.startswith("tokenizer"):
                _check_tokenizer_files(folder / part)
    return family


def parts_of(family: str) -> tuple[str, ...]:
    """The parts that affect an image, with a tokenizer for each text encoder."""
    encoders = [part for part in MODELS[family] if part.startswith("text_encoder")]
    tokenizers = [part.replace("text_encoder", "tokenizer") for part in encoders]
    return (*MODELS[family], *tokenizers, "scheduler")


def check_kind(where: object, family: str, classes: Mapping, configs: Mapping) -> None:
    """Raise BadInput for the first part that our loop would use otherwise than the pipeline itself.

    classes: part → name of its class, None if it is missing; configs: part → its config, "" → the pipeline's.
    """
    try:
        fault = next(_faults(family, classes, configs), None)
    except (TypeError, ValueError, AttributeError, KeyError) as error:  # foreign configs hold anything
        raise BadInput(f"{where}: its configs do not make a model ({one_line(error)})") from None
    if fault:
        raise BadInput(f"{where}: {fault}")


def own_size(denoiser: Mapping, scale: int) -> tuple[int, int]:
    """A denoiser's native height and width in pixels, `scale` pixels per latent. Raises ValueError for a bad config."""
    size = denoiser.get("sample_size") or 128
    sides = size if isinstance(size, list | tuple) else (size, size)
    if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
        raise ValueError(f"sample_size is {size}; expected a side, or height and width")
    return sides[0] * scale, sides[1] * scale


def check_tokenizer(where: object, words: int, embeddings: int) -> None:
    """Raise BadInput for a tokenizer without its words, which its library opens anyway, or of another text encoder."""
    if words > embeddings or words < embeddings / 2:
        fault = "one of its files is missing or of another model"
        raise BadInput(f"{where}: knows {words} words, its text encoder {embeddings}: {fault}")


def _faults(family: str, classes: Mapping, configs: Mapping) -> Iterator[str]:
    for part in parts_of(family):
        expected, found = MODELS[family].get(part), classes.get(part)
        if found is None:
            yield f"{part}: is missing; the pipeline needs it"
        elif expected and found != expected:
            yield f"{part}: this is a {found}; expected {expected}"
        name = configs.get(part, {}).get("_class_name")
        if expected and name not in (None, expected):
            yield f"{part}: its config is that of a {name}; expected {expected}"
    yield from _vae_faults(family, configs["vae"])
    denoiser = _transformer_faults if family == "flux" else _unet_faults
    yield from denoiser(family, configs)
    yield from _scheduler_faults(family, classes["scheduler"], configs["scheduler"])


def _vae_faults(family: str, vae: Mapping) -> Iterator[str]:
    for key in ("in_channels", "out_channels"):
        if vae.get(key, 3) != 3:
            yield f"vae: {key} is {vae[key]}; expected 3, for RGB"
    ignored = {"sdxl": ["shift_factor"], "flux": ["latents_mean", "latents_std"]}
    for key in ignored.get(family, ["shift_factor", "latents_mean", "latents_std"]):
        if vae.get(key):
            yield f"vae: {key} is {vae[key]}, which its pipeline does not read: it belongs to another"
    channels = vae.get("latent_channels", 4)
    for key in ("latents_mean", "latents_std"):
        if vae.get(key) and len(vae[key]) != channels:
            yield f"vae: {key} has {len(vae[key])} numbers for {channels} channels"


def _unet_faults(family: str, configs: Mapping) -> Iterator[str]:
    unet, channels = configs["unet"], configs["vae"].get("latent_channels", 4)
    if unet.get("time_cond_proj_dim") is not None:
        yield "unet: takes the guidance as an embedding (time_cond_proj_dim; LCM), which is not supported"
    if configs[""].get("requires_aesthetics_score"):
        yield "unet: takes an aesthetic score (an SDXL refiner), which is not supported; name a base model"
    for key in ("in_channels", "out_channels"):
        if (found := unet.get(key, 4)) != channels:
            yield (
                f"unet: {key} is {found} for {channels} channels of latents: it takes or returns more than an"
                " image (inpainting, depth, editing), which is not supported"
            )
    for key in ("class_embed_type", "num_class_embeds", "encoder_hid_dim", "encoder_hid_dim_type"):
        if unet.get(key) is not None:
            yield f"unet: {key} is {unet[key]}: it takes more than a prompt, which is not supported"
    added = "text_time" if family == "sdxl" else None
    if unet and unet.get("addition_embed_type") != added:
        yield f"unet: addition_embed_type is {unet.get('addition_embed_type')}; expected {added}"
    yield from _text_faults(family, configs)
    try:
        own_size(unet, 1)
    except ValueError as error:
        yield f"unet: {error}"


def _text_faults(family: str, configs: Mapping) -> Iterator[str]:
    """Text encoders of a width that the UNet does not take, if both configs record it."""
    unet, first, second = (configs.get(k, {}) for k in ("unet", "text_encoder", "text_encoder_2"))
    wanted = unet.get("cross_attention_dim")
    widths = [config.get("hidden_size") for config in (first, second)[: 1 + (family == "sdxl")]]
    if isinstance(wanted, int) and None not in widths and sum(widths) != wanted:
        yield f"unet: takes texts of width {wanted}; its text encoders give {sum(widths)}"
    wanted, times = unet.get("projection_class_embeddings_input_dim"), unet.get("addition_time_embed_dim")
    pooled = second.get("projection_dim")
    if family == "sdxl" and None not in (wanted, times, pooled) and pooled + 6 * times != wanted:
        yield (
            f"unet: projection_class_embeddings_input_dim is {wanted}, its text encoders and 6 sizes give"
            f" {pooled + 6 * times}: not a base model of SDXL (a refiner?), which is not supported"
        )


def _transformer_faults(family: str, configs: Mapping) -> Iterator[str]:
    model, channels = configs["transformer"], 4 * configs["vae"].get("latent_channels", 4)
    for key in ("in_channels", "out_channels"):
        if (found := model.get(key, 64 if key == "in_channels" else None)) not in (None, channels):
            yield (
                f"transformer: {key} is {found} for {channels} of a patch of latents: it takes more than an image"
                " (FLUX Fill, Depth, Canny), which is not supported"
            )
    if model.get("patch_size", 1) != 1:
        yield f"transformer: patch_size is {model['patch_size']}; expected 1"
    for key, part, width in (
        ("joint_attention_dim", "text_encoder_2", "d_model"),
        ("pooled_projection_dim", "text_encoder", "hidden_size"),
    ):
        wanted, found = model.get(key), configs[part].get(width)
        if None not in (wanted, found) and wanted != found:
            yield f"transformer: {key} is {wanted}; {part} gives {found}"


def _scheduler_faults(family: str, name: str, config: Mapping) -> Iterator[str]:
    if family == "flux":
        known, options = (FLOW_SCHEDULER,), FLOW_OPTIONS
    else:
        known, options = SCHEDULERS, OPTIONS | ({} if name in NO_CLIPPING else CLIPPING)
        if name == "DDIMScheduler":
            options = options | CLIPS
    if name not in known:
        good = FLOW_SCHEDULER if family == "flux" else "Euler, DDIM, DPM-Solver or the like"
        yield f"scheduler: {name} is not one that ttsnap supports, as its model predicts something else; use {good}"
    for key, values in options.items():
        if key == "beta_schedule" and config.get("trained_betas") is not None:
            continue
        if key in config and config[key] not in values:
            supported = " or ".join(str(value) for value in values if value is not None)
            yield f"scheduler: {key} is {config[key]}; only {supported} is supported"


def check_weights(folder: Path, name: str) -> None:
    """Raise BadInput unless a part has all its weights, by the header of each file."""
    index, single = folder / f"{name}.safetensors.index.json", folder / f"{name}.safetensors"
    if index.is_file() and (name == DIFFUSERS or not single.is_file()):
        held: dict[str, set] = {}
        try:
            wanted = dict(_table(index)["weight_map"])
        except (KeyError, TypeError, ValueError):
            raise BadInput(f"{index}: has no weight_map; download it again") from None
        for tensor, file in wanted.items():
            if file not in held:
                held[file] = _names(folder / str(file))
            if tensor not in held[file]:
                raise BadInput(f"{folder / file}: {tensor} is missing; download it again")
    elif single.is_file():
        _names(single)
    else:
        raise BadInput(f"{folder}: {_other_weights(folder, name)}")


def _names(path: Path) -> set[str]:
    remedy = "download it again"
    with reading(path, "damaged weights", remedy, remedy), safe_open(path, framework="np") as file:
        return set(file.keys())


def _other_weights(folder: Path, name: str) -> str:
    """Why a part has no weights, from the files it has instead."""
    found = sorted(path.name for path in folder.glob(f"{name}.*")) if folder.is_dir() else []
    variants = [file for file in found if file.endswith(".safetensors")]
    if variants:
        return f"no {name}.safetensors, only {variants[0]}; download the weights without a variant"
    if any(folder.glob("*.bin")):
        return "only weights in a pickle (.bin), which could run code; download the .safetensors"
    return f"no {name}.safetensors; download it again"


def _check_tokenizer_files(folder: Path) -> None:
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if not ({"tokenizer.json", "spiece.model"} & there or {"vocab.json", "merges.txt"} <= there):
        raise BadInput(
            f"{folder}: the words of the tokenizer are missing (tokenizer.json, vocab.json and merges.txt, or"
            " spiece.model); download it again"
        )


def _class_of(entry: object) -> str | None:
    """The class of a part in model_index.json: [library, class]; [null, null] if the part is left out."""
    is_pair = isinstance(entry, list) and len(entry) == 2 and isinstance(entry[1], str)
    return entry[1] if is_pair else None


def _table(path: Path) -> dict:
    found = read_json(path, infinities=True)
    if not isinstance(found, dict):
        raise BadInput(f"{path}: not a table; download it again")
    return found
