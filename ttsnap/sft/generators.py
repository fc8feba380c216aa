"""One-step generators behind one interface: a GAN's or a diffusers pipeline's noise → latents → pixels."""

from collections.abc import Sequence
from pathlib import Path

import torch

from ttsnap.errors import BadInput
from ttsnap.files import reading
from ttsnap.models import model_version, resolve
from ttsnap.seeds import candidate_seed
from ttsnap.sft.gan import KIND, load_gan, save_gan

Condition = tuple[torch.Tensor, ...]  # tensors with one row a sample


class Generator:
    """A one-step generator (noise.assign.OneStep) whose `module` can be finetuned.

    noise_shape: of one sample; image_shape: (C, H, W); version: name and digest of its weights.
    """

    module: torch.nn.Module
    noise_shape: tuple[int, ...]
    image_shape: tuple[int, int, int]
    version: str

    @property
    def device(self) -> torch.device:
        """Where the module lives."""
        return next(self.module.parameters()).device

    def embed(self, conditions: Sequence[str]) -> Condition:
        """Prompts or class names as tensors, row by row. Raises BadInput for one it cannot take."""
        raise NotImplementedError

    def latents(self, noise: torch.Tensor, condition: Condition) -> torch.Tensor:
        """x̂0 [B, …] of noise [B, …] ~ N(0, 1), float32."""
        raise NotImplementedError

    def pixels(self, latents: torch.Tensor) -> torch.Tensor:
        """Images [B, C, H, W] around [0, 1], not clamped, so that gradients reach the noise."""
        raise NotImplementedError

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """The latents of images [B, C, H, W] in [0, 1]."""
        raise NotImplementedError

    def save(self, folder: str | Path) -> None:
        """Write the whole model, to be opened by `load_generator` (pipelines also by diffusers)."""
        raise NotImplementedError

    def draw(self, seeds: Sequence[int]) -> torch.Tensor:
        """Gaussian noise [n, …], row i a function of seeds[i] alone."""
        rows = [
            torch.randn(self.noise_shape, generator=torch.Generator().manual_seed(seed))
            for seed in seeds
        ]
        return torch.stack(rows).to(self.device)


def base_noise(generator: Generator, run_seed: int, keys: Sequence[str]) -> torch.Tensor:
    """ε [n, …] of targets: a function of run seed and target key alone, the same in every cycle."""
    return generator.draw([candidate_seed(run_seed, key, 0) for key in keys])


def rows(condition: Condition, index) -> Condition:
    """Some rows of a condition."""
    return tuple(part[index] for part in condition)


class Gan(Generator):
    """The GAN of ttsnap.sft.gan; its latents are the images in [−1, 1]."""

    def __init__(self, folder: str | Path, device: str):
        net = load_gan(folder).to(
            device, memory_format=torch.channels_last
        )  # twice as fast on CPUs
        self.module = net.requires_grad_(False)
        config = self.module.config
        self.noise_shape = (config["latent"],)
        self.image_shape = (config["channels"], config["size"], config["size"])
        self.classes = {name: number for number, name in enumerate(config["classes"])}
        self.version = model_version(folder, ("config.json", "generator.safetensors"))

    def embed(self, conditions):
        try:
            labels = [self.classes[name] for name in conditions]
        except KeyError as error:
            known = ", ".join(self.classes)
            raise BadInput(f"class {error} is unknown to the GAN; it knows {known}") from None
        return (torch.tensor(labels, device=self.device),)

    def latents(self, noise, condition):
        return self.module(noise, *condition).float()

    def pixels(self, latents):
        return latents / 2 + 0.5

    def encode(self, images):
        return images * 2 - 1

    def save(self, folder):
        save_gan(self.module, folder)


def load_generator(path: str, *, size: int | None = None, device: str = "cpu") -> Generator:
    """Open a one-step generator: a GAN's folder, a pipeline's folder, a hub id or embedded:NAME.

    size: image side in pixels of a pipeline; its own if not given. Raises BadInput when it does not open.
    """
    path = resolve(path)
    config = Path(path) / "config.json"
    with reading(config, "not the config of a model"):
        gan = config.is_file() and KIND in config.read_text(encoding="utf-8", errors="replace")
    if gan:
        return Gan(path, device)
    from ttsnap.sft.pipeline import Pipeline  # diffusers takes seconds to import

    return Pipeline(path, size, device)
