"""docs/benchmarks.md in one call, on a GPU: `python benchmarks/gpu.py [--out docs/benchmarks.md]`.

SDXL and FLUX.1 in their published architectures with random bfloat16 weights: speed does not depend on
the weights' values. Nothing is downloaded.
"""

import argparse
import json
import time
from pathlib import Path

import diffusers
import torch
from diffusers import AutoencoderKL, AutoencoderTiny, FluxTransformer2DModel, UNet2DConditionModel

from ttsnap import cost
from ttsnap.architectures import FLUX, SDXL, VAE
from ttsnap.files import write_text
from ttsnap.rewards.hps import build, with_linear_attention
from ttsnap.rewards.preprocess import pad

STEPS, GRID = 20, {"rows": 64, "columns": 64}
SCHEDULE = {"steps": [2, 6, 11], "keep": [0.4, 0.4, 0.5]}  # published for FLUX and ImageReward


def random_model(model_class, config):
    """A model of random bfloat16 weights on the GPU."""
    model = cost.on_meta(model_class, config) if isinstance(config, dict) else model_class
    model = model.to_empty(device="cuda").to(torch.bfloat16).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.data.normal_(0, 0.02)
    return model


def seconds(function, *args, repeats=10, **kwargs):
    """Median time of a call, warmed up."""
    with torch.inference_mode():
        for _ in range(3):
            function(*args, **kwargs)
        times = []
        for _ in range(repeats):
            torch.cuda.synchronize()
            start = time.perf_counter()
            function(*args, **kwargs)
            torch.cuda.synchronize()
            times.append(time.perf_counter() - start)
    return sorted(times)[repeats // 2]


def peak():
    """The card's measured bfloat16 matmul speed, TFLOP/s."""
    a = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
    return 2 * 8192**3 / seconds(torch.matmul, a, a) / 1e12


def noise(*shape):
    return torch.randn(shape, device="cuda", dtype=torch.bfloat16)


def sdxl(batch):
    """(model, arguments of one guided evaluation of `batch` candidates at 512²)."""
    rows = 2 * batch
    added = {"text_embeds": noise(rows, 1280), "time_ids": noise(rows, 6)}
    step = torch.tensor(500, device="cuda")
    return (noise(rows, 4, 64, 64), step), {
        "encoder_hidden_states": noise(rows, 77, 2048), "added_cond_kwargs": added, "return_dict": False,
    }  # fmt: skip


def flux(batch):
    return (), {
        "hidden_states": noise(batch, 1024, 64), "timestep": noise(batch).abs(), "guidance": noise(batch).float(),
        "pooled_projections": noise(batch, 768), "encoder_hidden_states": noise(batch, 512, 4096),
        "txt_ids": noise(512, 3), "img_ids": noise(1024, 3), "return_dict": False,
    }  # fmt: skip


MODELS = {
    "SDXL, guided": (UNet2DConditionModel, SDXL, sdxl, 77, 4),
    "FLUX.1-dev": (FluxTransformer2DModel, FLUX, flux, 512, 16),
}


def looks(batch, channels):
    """Seconds per candidate of a look: (full decode, tiny decode, reward)."""
    vae = random_model(AutoencoderKL, {**VAE, "latent_channels": channels})
    tiny = random_model(AutoencoderTiny, {"latent_channels": channels})
    clip = with_linear_attention(build("ViT-H-14"))
    clip.attn_mask = None
    clip = random_model(clip, None)
    latents, images = noise(batch, channels, 64, 64), torch.rand(batch, 3, 512, 512, device="cuda")
    return (
        seconds(vae.decode, latents) / batch,
        seconds(tiny.decode, latents) / batch,
        seconds(lambda: clip.encode_image(pad(images, 224).bfloat16())) / batch,
    )


def measured(name, card, batch):
    """One model's figures."""
    model_class, config, arguments, tokens, channels = MODELS[name]
    model = random_model(model_class, config)
    args, kwargs = arguments(batch)
    step = seconds(model, *args, **kwargs) / batch
    flop = cost.denoiser_flop(cost.on_meta(model_class, config), **GRID, text_tokens=tokens) / 1e12
    del model
    torch.cuda.empty_cache()
    full, tiny, reward = looks(batch, channels)
    look = full + reward
    best_of_n = STEPS * step + look
    alive, previous, each = 1.0, -1, 0.0
    for at, keep in zip(SCHEDULE["steps"], SCHEDULE["keep"], strict=True):
        each += alive * ((at - previous) * step + look)
        previous, alive = at, alive * keep
    each += alive * ((STEPS - 1 - previous) * step + look)
    return {
        "steps/s": 1 / step,
        "TFLOP/step": flop,
        "share of matmul peak": flop / step / card,
        "look / step": look / step,
        "tiny look / full look": (tiny + reward) / look,
        "candidates of TTSnap per candidate of best-of-N, by time": best_of_n / each,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default="docs/benchmarks.md", help="page to write")
    parser.add_argument("--json", help="write the figures as JSON to FILE")
    parser.add_argument("--batch-size", type=int, default=8, help="candidates at once")
    args = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("benchmarks/gpu.py: needs a GPU")
    card = peak()
    figures = {name: measured(name, card, args.batch_size) for name in MODELS}
    rows = list(next(iter(figures.values())))
    lines = [
        "# Benchmarks", "",
        f"{torch.cuda.get_device_name()}, torch {torch.__version__}, diffusers {diffusers.__version__}; bfloat16,",
        f"random weights, 512×512, {args.batch_size} candidates at once; matmul peak measured: {card:.0f} TFLOP/s.", "",
        "| | " + " | ".join(figures) + " |", "| --- |" + " --- |" * len(figures),
        *("| " + row + " | " + " | ".join(f"{f[row]:.3g}" for f in figures.values()) + " |" for row in rows),
        "", "Made by `python benchmarks/gpu.py`. A look: full VAE decode and ViT-H reward; tiny: AutoencoderTiny.", "",
    ]  # fmt: skip
    write_text(args.out, "\n".join(lines))
    if args.json:
        Path(args.json).write_text(json.dumps(figures, indent=1))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
