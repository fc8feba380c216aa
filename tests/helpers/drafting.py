"""What drafts are made of in tests: LoRAs of the tiny pipelines, and drafters by the keys of the config."""

from pathlib import Path

import tiny
import torch
from peft import LoraConfig, get_peft_model_state_dict

from ttsnap.samplers import load_sampler
from ttsnap.samplers.drafts import Drafter, open_drafts
from ttsnap.settings.drafts import Draft

FAMILIES = {"sdxl": tiny.sdxl, "sd15": tiny.sd15, "flux": tiny.flux}
LAYERS = ["to_q", "to_k", "to_v", "to_out.0"]  # of attention, in UNets and in FLUX's transformer


def save_lora(family: str, folder: Path, rank: int = 2, seed: int = 5) -> Path:
    """A LoRA file of a tiny pipeline, as diffusers writes it; large enough to be seen in the image."""
    pipe = FAMILIES[family]()
    part = "transformer" if family == "flux" else "unet"
    denoiser = getattr(pipe, part)
    torch.manual_seed(seed)
    denoiser.add_adapter(LoraConfig(r=rank, lora_alpha=rank, init_lora_weights=False, target_modules=LAYERS))
    pipe.save_lora_weights(str(folder), **{f"{part}_lora_layers": get_peft_model_state_dict(denoiser)})
    return folder / "pytorch_lora_weights.safetensors"


def drafter(sampler, name: str = "few", **draft) -> Drafter:
    """The drafter of one entry of the config's `drafts`."""

    def load(path: str, how: Draft):
        size = {"height": sampler.height, "width": sampler.width}
        guidance = sampler.guidance if how.guidance is None else how.guidance
        return load_sampler(path, steps=how.steps, guidance=guidance, solver=how.solver, karras=how.karras, **size)

    return open_drafts(sampler, {name: Draft(**draft)}, load)[name]
