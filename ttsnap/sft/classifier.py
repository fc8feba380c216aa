"""A small classifier of a labelled data set: the judge of generated images, by features and by class."""

import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from tqdm import tqdm

from ttsnap.models.weights import check_finite
from ttsnap.sft.data import Images
from ttsnap.sft.gan import to_unit
from ttsnap.storage.files import reading, replacing

FEATURES, LEAST_EPOCHS, BATCH_SIZE = 64, 8, 128


class Classifier(nn.Module):
    """Images [B, C, H, W] in [0, 1] → features [B, 64] → logits [B, classes]."""

    def __init__(self, channels: int, classes: int, data: str = ""):
        super().__init__()
        self.data = data  # name of the data set
        self.body = nn.Sequential(
            nn.Conv2d(channels, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.AdaptiveMaxPool2d(4),
            nn.Flatten(), nn.Linear(64 * 16, FEATURES), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Linear(FEATURES, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(images))

    @torch.inference_mode()
    def read(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(features [n, 64], most likely class [n]) of images [n, C, H, W] in [0, 1], in batches, on the CPU."""
        device = self.head.weight.device
        features = torch.cat([self.body(part.to(device)) for part in images.split(512)])
        return features.cpu(), self.head(features).argmax(1).cpu()


def train_classifier(
    train: Images, test: Images, seed: int = 0, device: str = "cpu", epochs: int | None = None, data: str = ""
) -> tuple[Classifier, dict]:
    """Train on one split, at least some 400 updates, test on the other; returns the classifier and figures.

    data: the data set's name.
    """
    started = time.monotonic()
    torch.manual_seed(seed)
    images, labels = to_unit(train.images), torch.from_numpy(train.labels)
    net = Classifier(images.shape[1], len(train.classes), data).to(device)
    steps = -(-len(images) // BATCH_SIZE)
    epochs = epochs or max(LEAST_EPOCHS, -(-400 // steps))
    optimiser = torch.optim.AdamW(net.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs * steps)
    for _ in tqdm(range(epochs), desc="train-classifier", unit="epoch", mininterval=5):
        for index in torch.randperm(len(images)).split(BATCH_SIZE):
            loss = F.cross_entropy(net(images[index].to(device)), labels[index].to(device))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
    net.eval()
    _, found = net.read(to_unit(test.images))
    accuracy = float((found == torch.from_numpy(test.labels)).float().mean())
    return net, {"test_accuracy": accuracy, "epochs": epochs, "seconds": time.monotonic() - started}


def save_classifier(net: Classifier, path: str | Path) -> None:
    """Write its weights (safetensors)."""
    weights = {name: value.cpu().contiguous() for name, value in net.state_dict().items()}
    with replacing(path) as temporary:
        save_file(weights, temporary, metadata={"data": net.data})


def load_classifier(path: str | Path) -> Classifier:
    """Open what `save_classifier` wrote. Raises BadInput for anything else."""
    with reading(path, "not a classifier of ttsnap"):
        weights = load_file(path)
        with safe_open(path, framework="pt") as file:
            data = (file.metadata() or {}).get("data", "")
        net = Classifier(weights["body.0.weight"].shape[1], len(weights["head.bias"]), data)
        net.load_state_dict(weights)
    check_finite(path, net)
    return net.eval()
