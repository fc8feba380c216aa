"""docs/benchmarks.md in one call, on a GPU: `python benchmarks/gpu.py [--out docs/benchmarks.md]`.

SDXL and FLUX.1 in their published architectures, with random bfloat16 weights (speed does not depend on their values),
stepped and searched by ttsnap's own loop. Text encoding is left out. Nothing is downloaded. `--tiny` runs the same on
small architectures on any machine, to try the script rather than for its figures.
"""

import argparse
import sys
import time
from dataclasses import dataclass

import diffusers
import open_clip
import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)

from ttsnap.pruning.schedule import PUBLISHED, Schedule
from ttsnap.rewards.hps import with_linear_attention
from ttsnap.rewards.preprocess import pad
from ttsnap.samplers import cost
from ttsnap.samplers.architectures import FLUX_TRANSFORMER, PUBLISHED_VAE, SDXL_UNET
from ttsnap.samplers.flux import FluxCondition, FluxSampler
from ttsnap.samplers.sdxl import SDXLCondition, SDXLSampler
from ttsnap.search import search
from ttsnap.search.verifiers import FunctionVerifier
from ttsnap.storage.files import write_json, write_text

STEPS = 20
# Sizes of --tiny in place of the published ones.
SMALL_UNET = {
    "block_out_channels": (16, 32),
    "down_block_types": SDXL_UNET["down_block_types"][:2],
    "up_block_types": SDXL_UNET["up_block_types"][1:],
    "transformer_layers_per_block": (1, 1),
    "attention_head_dim": (2, 4),
    "norm_num_groups": 4,
}
SMALL_FLUX = {"num_layers": 1, "num_single_layers": 1, "num_attention_heads": 1}
SMALL_VAE = {"block_out_channels": (8, 8, 8, 8), "norm_num_groups": 4}
SMALL_CLIP = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 8, "vocab_size": 9, "width": 8, "heads": 1, "layers": 1},
}


@dataclass(frozen=True)
class Machine:
    """The device and the sizes. budget: candidates of best-of-N per prompt; pixels: side of an image."""

    device: str
    dtype: torch.dtype
    batch: int
    budget: int
    prompts: int
    pixels: int = 512
    matmul: int = 8192
    repeats: int = 10
    tiny: bool = False

    def random(self, *shape: int) -> torch.Tensor:
        return torch.randn(shape, device=self.device, dtype=self.dtype)

    def model(self, model: torch.nn.Module) -> torch.nn.Module:
        """Random weights for a model on the meta device."""
        model = model.to_empty(device=self.device).to(self.dtype).eval().requires_grad_(False)
        for parameter in model.parameters():
            parameter.data.normal_(0, 0.02)
        return model

    def from_config(self, model_class: type, config: dict, small: dict) -> torch.nn.Module:
        """A diffusers model with random weights."""
        return self.model(cost.on_meta(model_class, config | (small if self.tiny else {})))

    def sync(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()

    def seconds(self, function, *args) -> float:
        """Median time of a call, warmed up."""
        times = []
        with torch.inference_mode():
            for _ in range(3 + self.repeats):
                self.sync()
                start = time.perf_counter()
                function(*args)
                self.sync()
                times.append(time.perf_counter() - start)
        return sorted(times[3:])[self.repeats // 2]

    def peak(self) -> float:
        """The measured speed of a matrix product, TFLOP/s."""
        a = self.random(self.matmul, self.matmul)
        return 2 * self.matmul**3 / self.seconds(torch.matmul, a, a) / 1e12


def sdxl(machine: Machine):
    """A guided SDXL sampler with random weights, and its latent channels."""

    class Random(SDXLSampler):
        text_tokens = 77

        def check_parts(self):
            """There is no text encoder: conditions are random."""

        def encode(self, prompt):
            config = self.denoiser.config
            pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
            shapes = (self.text_tokens, config.cross_attention_dim), (pooled,), (6,)
            return SDXLCondition(*(machine.random(2, *shape) for shape in shapes))

    pipe = StableDiffusionXLPipeline(
        vae=machine.from_config(AutoencoderKL, PUBLISHED_VAE | {"scaling_factor": 0.13025}, SMALL_VAE),
        unet=machine.from_config(UNet2DConditionModel, SDXL_UNET, SMALL_UNET),
        scheduler=EulerDiscreteScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"),
        **dict.fromkeys(("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2")),
        add_watermarker=False,
    )
    return opened(Random, pipe, machine, guidance=5.0), 4


def flux(machine: Machine):
    """A FLUX.1-dev sampler with random weights, and its latent channels."""

    class Random(FluxSampler):
        def check_parts(self):
            """There is no text encoder: conditions are random."""

        def encode(self, prompt):
            config = self.denoiser.config
            embeds = machine.random(1, self.text_tokens, config.joint_attention_dim)
            pooled = machine.random(1, config.pooled_projection_dim)
            ids, guidance = torch.zeros(self.text_tokens, 3), torch.tensor([self.guidance])
            return FluxCondition(embeds, pooled, ids.to(self.device), guidance.to(self.device))

    config = PUBLISHED_VAE | {"latent_channels": 16, "scaling_factor": 0.3611, "shift_factor": 0.1159}
    pipe = FluxPipeline(
        vae=machine.from_config(AutoencoderKL, config, SMALL_VAE),
        transformer=machine.from_config(FluxTransformer2DModel, FLUX_TRANSFORMER, SMALL_FLUX),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        **dict.fromkeys(("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2")),
    )
    return opened(Random, pipe, machine, guidance=3.5), 16


def opened(sampler_class, pipe, machine: Machine, guidance: float):
    side = machine.pixels
    return sampler_class(pipe, steps=STEPS, guidance=guidance, height=side, width=side, name="-")


def clip_reward(machine: Machine):
    """A score by the image tower of a ViT-H-14 with random weights."""
    with torch.device("meta"):
        config = SMALL_CLIP if machine.tiny else open_clip.get_model_config("ViT-H-14")
        clip = with_linear_attention(open_clip.CLIP(**config))
    clip.attn_mask = None  # the text tower's
    clip, size = machine.model(clip), clip.visual.image_size[0]

    def score(images, prompt):
        return torch.nan_to_num(clip.encode_image(pad(images, size).to(machine.dtype)).mean(1))

    shape = (machine.pixels, machine.pixels)
    return FunctionVerifier("clip", score, size=shape, device=machine.device)


def searched(sampler, verifier, schedule: Schedule, machine: Machine) -> dict:
    """A real search within the budget, after a warm-up: candidates and seconds per prompt, images read, TFLOP."""
    for prompts in (["warm up"], [f"prompt {n}" for n in range(machine.prompts)]):
        machine.sync()
        start = time.perf_counter()
        results = search(sampler, verifier, schedule, prompts, machine.budget, "candidates", batch_size=machine.batch)
        first, plan = list(results)[0]
        machine.sync()
        seconds = (time.perf_counter() - start) / len(prompts)
    return {
        "candidates": plan.candidates,
        "seconds": seconds,
        "readings": first.readings,
        "finishing": plan.finishing,
        "tflop": plan.spent(first.evaluations, first.readings)["total"],
    }


def measured(make, card: float, machine: Machine) -> dict[str, float]:
    """One model's figures; times of a step and of a look are per candidate."""
    sampler, channels = make(machine)
    verifier, batch = clip_reward(machine), machine.batch
    condition, latents = sampler.encode("-"), sampler.init(range(batch))
    step = machine.seconds(sampler.step, 0, latents, condition) / batch
    denoise = cost.sampler_cost(sampler)["denoise"]
    tiny_vae = machine.from_config(AutoencoderTiny, {"latent_channels": channels}, {})
    small = machine.random(batch, channels, machine.pixels // 8, machine.pixels // 8)
    images = torch.rand(batch, 3, machine.pixels, machine.pixels, device=machine.device)
    full = machine.seconds(sampler.decode, latents) / batch
    tiny = machine.seconds(tiny_vae.decode, small) / batch
    reward = machine.seconds(lambda: verifier.read(images, ["-"] * batch, None)) / batch
    best = searched(sampler, verifier, Schedule((), ()), machine)
    ours = searched(sampler, verifier, PUBLISHED, machine)
    early = ours["readings"] - ours["finishing"]
    looks, saved = ours["readings"] * (full + reward), early * (full - tiny)
    compared = {"candidates": "candidates", "TFLOP": "tflop", "seconds": "seconds"}
    return {
        "steps/s, Tweedie image included": 1 / step,
        "TFLOP/step": denoise,
        "share of the matmul peak": denoise / step / card,
        "look / step (decode and score)": (full + reward) / step,
        "look by AutoencoderTiny / look by full decode": (tiny + reward) / (full + reward),
        **{f"best-of-N: {name}": best[key] for name, key in compared.items()},
        **{f"TTSnap: {name}": ours[key] for name, key in compared.items()},
        "TTSnap: share of looks by full decode": looks / ours["seconds"],
        "TTSnap: the same, AutoencoderTiny before the end": (looks - saved) / (ours["seconds"] - saved),
    }


def page(figures: dict, card: float, name: str, machine: Machine) -> str:
    """The figures as docs/benchmarks.md."""
    rows = list(next(iter(figures.values())))
    dtype = str(machine.dtype).removeprefix("torch.")
    lines = [
        "# Benchmarks", "",
        f"{name}, torch {torch.__version__}, diffusers {diffusers.__version__}; {dtype}, random weights,",
        f"{machine.pixels}×{machine.pixels}, {machine.batch} candidates at once; matmul peak measured:"
        f" {card:.3g} TFLOP/s.", "",
        "| | " + " | ".join(figures) + " |", "| --- |" + " --- |" * len(figures),
        *("| " + row + " | " + " | ".join(f"{f[row]:.4g}" for f in figures.values()) + " |" for row in rows),
        "", f"Real searches, per prompt, at the FLOP of best-of-{machine.budget}; TTSnap looks at steps "
        f"{PUBLISHED.looks} and keeps {PUBLISHED.keep}; a look is a decode and a reading by a ViT-H-14.",
        "Made by `python benchmarks/gpu.py`.", "",
    ]  # fmt: skip
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default="docs/benchmarks.md", help="page to write")
    parser.add_argument("--json", help="write the figures as JSON to FILE")
    parser.add_argument("--batch-size", type=int, default=8, help="candidates at once")
    parser.add_argument("--budget", type=int, default=16, help="of a search, in best-of-N's N")
    parser.add_argument("--tiny", action="store_true", help="small models, on the CPU")
    args = parser.parse_args()
    diffusers.logging.set_verbosity_error()
    if args.tiny:
        machine = Machine("cpu", torch.float32, 2, 2, 1, 64, matmul=64, repeats=1, tiny=True)
    elif torch.cuda.is_available():
        machine = Machine("cuda", torch.bfloat16, args.batch_size, args.budget, prompts=4)
    else:
        sys.exit("benchmarks/gpu.py: no GPU here; --tiny tries the script on the CPU")
    card, figures = machine.peak(), {}
    for name, make in {"SDXL, guided": sdxl, "FLUX.1-dev": flux}.items():
        figures[name] = measured(make, card, machine)
        torch.cuda.empty_cache()
    text = page(figures, card, "CPU" if args.tiny else torch.cuda.get_device_name(), machine)
    write_text(args.out, text)
    if args.json:
        write_json(args.json, figures)
    print(text)


if __name__ == "__main__":
    main()
