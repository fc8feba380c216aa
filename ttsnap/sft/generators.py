"""Opening a one-step generator: a GAN, or a diffusers pipeline."""

from pathlib import Path

import torch

from ttsnap.errors import BadInput
from ttsnap.models import model_version, resolve
from ttsnap.sft.gan import KIND, load_gan, save_gan
from ttsnap.sft.generator import Generator
from ttsnap.storage.files import reading


class OneStepGan(Generator):
    """The GAN of ttsnap.sft.gan; its latents are the images in [−1, 1]."""

    def __init__(self, folder: str | Path, device: str):
        net = load_gan(folder).to(device, memory_format=torch.channels_last)  # twice as fast on CPUs
        self.module, config = net.requires_grad_(False), net.config
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

    size: image side of a pipeline in pixels, by default its own. Raises BadInput when the model does not open.
    """
    path = resolve(path)
    config = Path(path) / "config.json"
    with reading(config, "not the config of a model"):
        gan = config.is_file() and KIND in config.read_text(encoding="utf-8", errors="replace")
    if gan:
        return OneStepGan(path, device)
    from ttsnap.sft.pipeline import OneStepPipeline  # diffusers takes seconds to import

    return OneStepPipeline(path, size, device)
