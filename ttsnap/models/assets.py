"""The published models, rewards and data sets: which files to fetch, and from where.

Models and rewards go to `models/NAME`; the hub lists their size and hash (SHA-256 of large files, git's SHA-1 of
small ones). Data sets go to `data/NAME`, with the sizes and MD5 that their authors published. Correct files are kept.
"""

from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from ttsnap.settings.datasets import LABELLED

MODELS, DATA = Path("models"), Path("data")
HPS_FILES = {"v2.0": "HPS_v2_compressed.pt", "v2.1": "HPS_v2.1_compressed.pt"}
HPS_VERSION = "v2.1"  # fetched by default


@dataclass(frozen=True)
class Source:
    """Some files of one repository. files: patterns or names to fetch; without: patterns to skip."""

    repo: str  # owner/name on huggingface.co, or github:owner/name
    files: tuple[str, ...] = ("*",)
    without: tuple[str, ...] = ()
    revision: str = "main"

    def wants(self, path: str) -> bool:
        """Whether to fetch a file of the repository."""
        return any(fnmatch(path, p) for p in self.files) and not any(fnmatch(path, p) for p in self.without)


@dataclass(frozen=True)
class DataFiles:
    """A data set's files at one address, which ends in /. files: name → (size in bytes, MD5)."""

    address: str
    files: dict[str, tuple[int, str]]


# A diffusers folder of safetensors in full precision, without its single-file and ONNX copies.
PIPELINE = ("model_index.json", "*/*.json", "*/*.txt", "*/*.model", "*/*.safetensors")
COPIES = ("*.fp16.*", "*.non_ema.*", "*/openvino_*", "*_flax*", "safety_checker/*", "vae_1_0/*")
TINY = ("config.json", "diffusion_pytorch_model.safetensors")
CLIP = ("*.json", "*.txt", "model*.safetensors")

ASSETS: dict[str, tuple[Source, ...]] = {
    "FLUX.1-dev": (Source("black-forest-labs/FLUX.1-dev", PIPELINE, COPIES),),
    "sdxl-base": (Source("stabilityai/stable-diffusion-xl-base-1.0", PIPELINE, COPIES),),
    "RealVisXL_V4.0": (Source("SG161222/RealVisXL_V4.0", PIPELINE, COPIES),),
    "sdxl-turbo": (Source("stabilityai/sdxl-turbo", PIPELINE, COPIES),),
    "Hyper-SD15-1step": (
        Source("stable-diffusion-v1-5/stable-diffusion-v1-5", PIPELINE, COPIES),
        Source("ByteDance/Hyper-SD", ("Hyper-SD15-1step-lora.safetensors",)),
    ),
    # Decoders of looks: https://github.com/madebyollin/taesd
    **{name: (Source(f"madebyollin/{name}", TINY),) for name in ("taesd", "taesdxl", "taef1")},
    "PickScore_v1": (
        Source("yuvalkirstain/PickScore_v1", CLIP),
        Source("laion/CLIP-ViT-H-14-laion2B-s32B-b79K", ("*token*.json", "vocab.json", "merges.txt")),
    ),
    "CLIP-ViT-L-14": (Source("openai/clip-vit-large-patch14", CLIP),),
    "Aesthetic": (
        Source(
            "github:christophschuhmann/improved-aesthetic-predictor",
            ("sac+logos+ava1-l14-linearMSE.pth",),
            revision="6934dd81792f086e613a121dbce43082cb8be85e",
        ),
    ),
    "ImageReward": (
        Source("zai-org/ImageReward", ("ImageReward.pt", "med_config.json")),
        Source("google-bert/bert-base-uncased", ("vocab.txt",)),
    ),
    "HPSv2": (Source("xswu/HPSv2", tuple(HPS_FILES.values())),),
}
DATA_SETS = {name: DataFiles(found.address, found.files) for name, found in LABELLED.items() if found.files}
ASSET_NAMES = (*ASSETS, *DATA_SETS)


def home(name: str) -> Path:
    """The default folder of an asset."""
    return (DATA if name in DATA_SETS else MODELS) / name


def sources(name: str, hps_version: str = HPS_VERSION) -> tuple[Source | DataFiles, ...]:
    """What to fetch of an asset; of HPSv2 only `hps_version`."""
    if name in DATA_SETS:
        return (DATA_SETS[name],)
    if name == "HPSv2":
        return (Source("xswu/HPSv2", (HPS_FILES[hps_version],)),)
    return ASSETS[name]


def local_copy(path: str) -> str:
    """The folder of a hub id under `models/`, if it was downloaded; else `path` itself."""
    for name, (first, *_) in ASSETS.items():
        if first.repo == path and (MODELS / name).is_dir():
            return str(MODELS / name)
    return path


def how_to_get(path: str) -> str:
    """The command that fetches the asset that `path` names or lies in; "" for anything else."""
    for name, (first, *_) in ASSETS.items():
        if path == first.repo or name in Path(path).parts:
            return f"`ttsnap download --only {name}` puts it in {MODELS / name}"
    return ""
