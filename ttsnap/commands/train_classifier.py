"""`ttsnap train-classifier`: the judge of generated images, trained on the real ones."""

from pydantic import Field

from ttsnap.commands.device_options import OnDevice, pick_device
from ttsnap.commands.options import Command, OutFile
from ttsnap.commands.target_options import ForDataSet
from ttsnap.settings.section import Positive, Seed


class TrainClassifierOptions(Command, ForDataSet, OnDevice):
    """The data set, and how long to train on it."""

    out: OutFile = Field(description="the classifier's weights (safetensors)")
    epochs: Positive | None = Field(None, description="passes over the training split; default: 8 or more")
    seed: Seed = Field(0, description="seed of weights and order")


def run(options: TrainClassifierOptions) -> dict:
    """Train, save, and return the accuracy on the test split."""
    from ttsnap.sft.data import load_images

    train, test = (load_images(options.data, options.folder, split) for split in ("train", "test"))
    device = pick_device(options)
    from ttsnap.sft.classifier import save_classifier, train_classifier

    net, figures = train_classifier(train, test, options.seed, device, options.epochs, options.data)
    save_classifier(net, options.out)
    print(f"{options.data}: {figures['test_accuracy']:.1%} of the test split right")
    return figures
