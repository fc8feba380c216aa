"""The labelled data sets that can serve as targets."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

DIGITS = tuple("0123456789")
MNIST_SIZES = {"train": 60_000, "test": 10_000}


@dataclass(frozen=True)
class LabelledSet:
    """Images with classes.

    classes   names of the labels 0, 1, …
    sizes     images of each split
    layout    bundled: in scikit-learn; idx: the file format of MNIST; cifar: the binary version of CIFAR-10
    address   where its files are published, ending in /; files: name → (size in bytes, MD5)
    packaged  the folder of the Debian package
    """

    classes: tuple[str, ...]
    sizes: dict[str, int]
    layout: Literal["bundled", "idx", "cifar"]
    address: str = ""
    files: dict[str, tuple[int, str]] = field(default_factory=dict)
    packaged: Path | None = None


LABELLED = {
    "digits": LabelledSet(DIGITS, {"train": 1438, "test": 359}, "bundled"),
    "mnist": LabelledSet(
        DIGITS,
        MNIST_SIZES,
        "idx",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        {
            "train-images-idx3-ubyte.gz": (9912422, "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
            "train-labels-idx1-ubyte.gz": (28881, "d53e105ee54ea40749a09fcbcd1e9432"),
            "t10k-images-idx3-ubyte.gz": (1648877, "9fb629c4189551a2d022fa330f9573f3"),
            "t10k-labels-idx1-ubyte.gz": (4542, "ec29112dd5afa0611ce80d1b7f02629c"),
        },
    ),
    "fashion_mnist": LabelledSet(
        (
            "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
            "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
        ),
        MNIST_SIZES,
        "idx",
        "https://fashion-mnist.s3.eu-central-1.amazonaws.com/",
        {
            "train-images-idx3-ubyte.gz": (26421880, "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
            "train-labels-idx1-ubyte.gz": (29515, "25c81989df183df01b3e8a0aad5dffbe"),
            "t10k-images-idx3-ubyte.gz": (4422102, "bef4ecab320f06d8554ea6380940ec79"),
            "t10k-labels-idx1-ubyte.gz": (5148, "bb300cfdad3c16e7a12a480ee83cd310"),
        },
        Path("/usr/share/datasets/fashion-mnist"),  # dataset-fashion-mnist
    ),
    "cifar10": LabelledSet(
        (
            "airplane", "automobile", "bird", "cat", "deer",
            "dog", "frog", "horse", "ship", "truck",
        ),
        {"train": 50_000, "test": 10_000},
        "cifar",
        "https://www.cs.toronto.edu/~kriz/",
        {"cifar-10-binary.tar.gz": (170052171, "c32a1d4ab5d03f1284b67883e8d87530")},
    ),
}  # fmt: skip
DataSet = Literal[tuple(LABELLED)]
Split = Literal["train", "test"]
BUNDLED = next(iter(LABELLED))  # the default: nothing to download
