"""A class-conditional GAN of any size: 8×8, 28×28 and 32×32 are settings, not copies."""

import json
import time
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm
from tqdm import tqdm

from ttsnap.errors import BadInput
from ttsnap.models.weights import check_finite
from ttsnap.sft.data import Images
from ttsnap.storage.files import reading, replacing, write_json
from ttsnap.training.weights import Average

KIND = "ttsnap-gan"


class ClassNorm(nn.Module):
    """Batch normalisation with a scale and an offset for each class."""

    def __init__(self, channels: int, classes: int):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.scale = nn.Embedding(classes, channels)
        self.offset = nn.Embedding(classes, channels)
        nn.init.ones_(self.scale.weight)
        nn.init.zeros_(self.offset.weight)

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        scale, offset = (e(labels)[:, :, None, None] for e in (self.scale, self.offset))
        if self.training:
            return self.norm(x) * scale + offset
        mean, var = (v[:, None, None] for v in (self.norm.running_mean, self.norm.running_var))
        scale = scale * torch.rsqrt(var + self.norm.eps)
        return torch.addcmul(offset - mean * scale, x, scale)  # the same in one pass over x


def enlarged(conv: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """A 3×3 convolution of x enlarged twofold (nearest), as one transposed convolution where it is a plain one.

    Along each side its four taps are sums of those taps of the flipped kernel w that meet the same pixel:
    w[t] + w[t−1]. That leaves 4 of 9 products, and assignment spends its time here.
    """
    if type(conv) is not nn.Conv2d:  # a layer with adapters
        return conv(F.interpolate(x, scale_factor=2))
    w = conv.weight.flip(2, 3).transpose(0, 1)
    w = F.pad(w, (1, 0)) + F.pad(w, (0, 1))
    w = F.pad(w, (0, 0, 1, 0)) + F.pad(w, (0, 0, 0, 1))
    w = w.contiguous(memory_format=torch.channels_last)  # twice as fast on CPUs
    return F.conv_transpose2d(x, w, conv.bias, stride=2, padding=1)


class GanGenerator(nn.Module):
    """z [B, latent], labels [B] → images [B, C, size, size] in (−1, 1); size is a multiple of 4 (DCGAN).

    Assignment runs it hundreds of times a target, so only the last layer works at full size.
    """

    def __init__(self, channels: int, size: int, latent: int, width: int, classes: list[str]):
        super().__init__()
        if size % 4 or size < 4:
            raise BadInput(f"size {size}: the GAN makes images whose side is a multiple of 4")
        self.config = dict(kind=KIND, channels=channels, size=size, latent=latent, width=width, classes=list(classes))
        sides = (4 * width, 2 * width, width)
        self.start = nn.Linear(latent, sides[0] * (size // 4) ** 2)
        self.norms = nn.ModuleList(ClassNorm(c, len(classes)) for c in sides)
        self.blocks = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in zip(sides, sides[1:], strict=False))
        self.last = nn.Conv2d(width, channels, 3, padding=1)

    def forward(self, z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        side = self.config["size"] // 4
        x = self.start(z).view(len(z), -1, side, side)
        for norm, block in zip(self.norms, self.blocks, strict=False):
            x = enlarged(block, F.relu(norm(x, labels)))
        return torch.tanh(self.last(F.relu(self.norms[-1](x, labels))))


class Discriminator(nn.Module):
    """Projection discriminator with spectral norm: images [B, C, H, W], labels [B] → scores [B]."""

    def __init__(self, channels: int, width: int, classes: int):
        super().__init__()
        sizes = [channels, width, 2 * width, 4 * width]
        self.blocks = nn.ModuleList(
            spectral_norm(nn.Conv2d(a, b, 4 if n else 3, stride=2 if n else 1, padding=1))
            for n, (a, b) in enumerate(zip(sizes, sizes[1:], strict=False))
        )
        self.head = spectral_norm(nn.Linear(sizes[-1], 1))
        self.classes = spectral_norm(nn.Embedding(classes, sizes[-1]))

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = F.leaky_relu(block(x), 0.2)
        x = x.mean((2, 3)) * 4
        return self.head(x)[:, 0] + (self.classes(labels) * x).sum(1)


def to_unit(images: np.ndarray) -> torch.Tensor:
    """uint8 [N, H, W, C] → float32 [N, C, H, W] in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255


def train_gan(data: Images, settings: dict, seed: int, device: str = "cpu") -> tuple[GanGenerator, dict]:
    """Train both networks in turn with the hinge loss; returns the generator (its moving average) and figures.

    settings: the keys of `settings.sft.Gan`.
    """
    started = time.monotonic()
    data = data.take(0, settings["limit"])
    _, size, _, channels = data.images.shape
    torch.manual_seed(seed)
    images = (to_unit(data.images) * 2 - 1).to(device)
    labels = torch.from_numpy(data.labels).to(device)
    net = GanGenerator(channels, size, settings["latent"], settings["width"], data.classes).to(device)
    critic = Discriminator(channels, settings["width"], len(data.classes)).to(device)
    optimisers = [torch.optim.Adam(m.parameters(), settings["lr"], betas=(0.5, 0.999)) for m in (net, critic)]
    kept, losses = deepcopy(net).requires_grad_(False), []
    floats = {name: value for name, value in net.state_dict().items() if value.is_floating_point()}
    average = Average(floats, 0.999, warm_up=20)  # of parameters, and of the running statistics of normalisation
    batch = min(settings["batch_size"], len(images))
    for _ in tqdm(range(settings["epochs"]), desc="train-gan", unit="epoch", mininterval=5):
        order = torch.randperm(len(images), device=device)
        for at in range(0, len(order) - batch + 1, batch):
            chosen = order[at : at + batch]
            losses.append(_step(net, critic, optimisers, images[chosen], labels[chosen]))
            average.update()
    kept.load_state_dict(average.values, strict=False)
    generator_loss, critic_loss = np.mean(losses[-50:], axis=0).tolist()
    return kept.eval(), {
        "images": len(images),
        "steps": len(losses),
        "generator_loss": generator_loss,
        "critic_loss": critic_loss,
        "parameters": sum(p.numel() for p in net.parameters()),
        "seconds": time.monotonic() - started,
    }


def _step(net, critic, optimisers, real, labels) -> tuple[float, float]:
    """One update of the critic and one of the generator; their losses."""
    latent = net.config["latent"]
    fake = net(torch.randn(len(real), latent, device=real.device), labels)
    loss_critic = F.relu(1 - critic(real, labels)).mean()
    loss_critic = loss_critic + F.relu(1 + critic(fake.detach(), labels)).mean()
    optimisers[1].zero_grad(set_to_none=True)
    loss_critic.backward()
    optimisers[1].step()
    loss = -critic(fake, labels).mean()
    optimisers[0].zero_grad(set_to_none=True)
    loss.backward()
    optimisers[0].step()
    return loss.item(), loss_critic.item()


def save_gan(net: GanGenerator, folder: str | Path) -> None:
    """Write generator.safetensors and config.json."""
    weights = {name: value.detach().cpu().contiguous() for name, value in net.state_dict().items()}
    with replacing(Path(folder) / "generator.safetensors") as temporary:
        save_file(weights, temporary)
    write_json(Path(folder) / "config.json", net.config)


def load_gan(folder: str | Path) -> GanGenerator:
    """Open what `save_gan` wrote. Raises BadInput when it is not whole."""
    folder = Path(folder)
    about, weights = folder / "config.json", folder / "generator.safetensors"
    with reading(about, "not a GAN of ttsnap"):
        config = json.loads(about.read_text(encoding="utf-8"))
        if config.pop("kind") != KIND:
            raise ValueError("another kind of model")
        net = GanGenerator(**config)
    with reading(weights, "not a GAN of ttsnap"):
        net.load_state_dict(load_file(weights))
    check_finite(weights, net)
    return net.eval()
