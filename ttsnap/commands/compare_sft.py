"""`ttsnap compare-sft`: a generator against the original: reconstruction, fresh samples, drift."""

from pydantic import Field

from ttsnap.commands.device_options import OnDevice, pick_device
from ttsnap.commands.options import Command, ForModel, InFile, OutFile, Readable, refuse_beside
from ttsnap.commands.target_options import InFolderOfData
from ttsnap.errors import BadInput
from ttsnap.models import check_generator, check_there
from ttsnap.settings.datasets import DataSet
from ttsnap.settings.section import Count, Seed
from ttsnap.settings.sft import Checked, Fresh, Way

MOST_REAL = 10_000  # real images that fresh samples are compared with


class CompareSftOptions(Command, ForModel, InFolderOfData, OnDevice):
    """The generator, the original, the targets and the judge."""

    base: Readable = Field(description="the original model")
    train_manifest: InFile = Field(description="train targets with the noise assigned for this very model")
    test_manifest: InFile = Field(description="test targets with the noise assigned for this very model")
    classifier: InFile | None = Field(None, description="classifier of the data set (`ttsnap train-classifier`)")
    features: Readable | None = Field(None, description="CLIP folder, to compare its image features instead")
    checker: Checked
    data: DataSet | None = Field(None, description="labelled data set of real images; default: the train targets")
    fresh: Fresh
    images: OutFile | None = Field(None, description="file for a few images (safetensors)")
    way: Way = Field("base", description="how the model was made: base for the original, else the noise of its SFT")
    cycle: Count = Field(0, description="cycle after which it was made")
    seed: Seed = Field(0, description="run seed, also of the fresh noise")


def run(options: CompareSftOptions) -> dict:
    """Measure; return the figures."""
    if (options.classifier is None) == (options.features is None):
        raise BadInput("give either --classifier or --features")
    if not options.data:
        refuse_beside(options, "without --data", "folder")
    check_generator(options.model, "--model")
    check_generator(options.base, "--base")
    if options.features:
        check_there(options.features, "--features")
    device = pick_device(options)
    from ttsnap.models import model_version, resolve
    from ttsnap.sft.comparison import classifier_judge, clip_judge, clip_reward, compare, read_probe
    from ttsnap.sft.data import load_images
    from ttsnap.sft.gan import to_unit
    from ttsnap.sft.generators import load_generator

    model, base = (load_generator(path, size=options.size, device=device) for path in (options.model, options.base))
    judge_path = options.classifier or resolve(options.features)
    judge = clip_judge(judge_path) if options.features else classifier_judge(judge_path, options.data)
    manifests = {"train": options.train_manifest, "test": options.test_manifest}
    targets = {split: read_probe(m, options.model, model.version) for split, m in manifests.items()}
    real = None
    if options.data:
        real = to_unit(load_images(options.data, options.folder, "train").images[:MOST_REAL])
    how = options.model_dump(include={"fresh", "checker", "seed"})
    reward = clip_reward(judge_path) if options.features else None
    found = compare(model, base, targets, judge, real=real, reward=reward, **how)
    if options.images:
        found.save_images(options.images)
    test, quality = found.figures["test"], found.figures["fresh"]
    print(
        f"{options.way} {options.cycle}: held-out PSNR {test['psnr']:.2f} dB, feature distance "
        f"{quality['feature_distance']:.3f}, drift {found.figures['drift']:.4f}"
    )
    about = options.model_dump(include={"way", "cycle", "seed"})
    versions = {"model": model.version, "base": base.version, "judge": model_version(judge_path)}
    return {**about, **versions, **found.figures}
