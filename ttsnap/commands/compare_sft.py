"""`ttsnap compare-sft`: one generator against the original: reconstruction, fresh samples, drift."""

import argparse

from ttsnap.commands.device_options import add_device, pick_device
from ttsnap.commands.options import (
    MOST_IMAGES,
    in_file,
    in_folder,
    natural,
    out_file,
    refuse_beside,
    seed,
    side,
    whole,
)
from ttsnap.errors import BadInput, TtsnapError
from ttsnap.models import check_generator, check_there, resolve
from ttsnap.settings.sft import SIZES
from ttsnap.storage.files import replacing

SHOWN = 12  # images kept for the grids


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--model", required=True, help="the generator to measure")
    parser.add_argument("--base", required=True, help="the original model")
    parser.add_argument("--size", type=side, help="image side of a pipeline, in pixels")
    for split in ("train", "test"):
        parser.add_argument(
            f"--{split}-manifest", type=in_file, required=True,
            help=f"{split} targets with the noise assigned for this very model",
        )  # fmt: skip
    parser.add_argument(
        "--classifier", type=in_file, help="classifier of the data set (`ttsnap train-classifier`)"
    )
    parser.add_argument("--features", help="CLIP folder whose image features are compared instead")
    parser.add_argument("--checker", choices=["shapes"], help="objective verdict on fresh samples")
    parser.add_argument(
        "--data",
        choices=SIZES,
        help="labelled data set of real images; the train targets if not given",
    )
    parser.add_argument("--folder", type=in_folder, help="where its files lie")
    parser.add_argument(
        "--fresh", type=whole(2, MOST_IMAGES), default=500, help="fresh random-noise samples"
    )
    parser.add_argument("--images", type=out_file, help="file for a few images (safetensors)")
    parser.add_argument(
        "--way", default="base", choices=["base", "direct", "matched"], help="how it was made"
    )
    parser.add_argument("--cycle", type=natural, default=0, help="after which cycle")
    parser.add_argument("--seed", type=seed, default=0, help="run seed; also of the fresh noise")
    add_device(parser)


def run(args: argparse.Namespace) -> dict:
    """Measure; return the figures."""
    if (args.classifier is None) == (args.features is None):
        raise BadInput("give either --classifier or --features")
    if not args.data:
        refuse_beside(args, "without --data", "--folder")
    for option in ("model", "base"):
        check_generator(getattr(args, option), f"--{option}")
    if args.features:
        check_there(args.features, "--features")
    device = pick_device(args)
    from ttsnap.models import model_version
    from ttsnap.sft.generators import load_generator
    from ttsnap.sft.metrics import images_of, reconstruction_figures, to_bytes
    from ttsnap.sft.records import read_assigned
    from ttsnap.storage.provenance import check_same

    model, base = (
        load_generator(p, size=args.size, device=device) for p in (args.model, args.base)
    )
    judge = args.classifier or resolve(args.features)
    read = _classifier(judge, args.data) if args.classifier else _clip(judge)
    results: dict = {"way": args.way, "cycle": args.cycle, "seed": args.seed}
    results |= {"model": model.version, "base": base.version, "judge": model_version(judge)}
    kept, data = {}, {}
    for split in ("train", "test"):
        path = getattr(args, f"{split}_manifest")
        data[split] = read_assigned([path])
        made_for = {"model": model.version}
        again = "assign noise for this very model"
        check_same(path, data[split].made_from, args.model, made_for, again, only=("model",))
        condition = model.embed(data[split].conditions)
        images, targets = images_of(model, data[split].noise, condition), data[split].pixels()
        results[split] = reconstruction_figures(images, targets, data[split].losses)
        kept[f"{split}_target"] = to_bytes(targets[:SHOWN])
        kept[f"{split}_image"] = to_bytes(images[:SHOWN])
    real = data["train"].pixels()
    if args.data:
        from ttsnap.sft.data import load_images
        from ttsnap.sft.gan import to_unit

        real = to_unit(load_images(args.data, args.folder, "train").images[:10_000])
    conditions = _spread(data["train"].conditions, args.fresh)
    results |= _fresh(model, base, conditions, real, read, args, kept)
    if args.images:
        _write_images(args.images, kept, {s: data[s].conditions[:SHOWN] for s in data}, conditions)
    print(f"{args.way} {args.cycle}: held-out PSNR {results['test']['psnr']:.2f} dB, "
          f"feature distance {results['fresh']['feature_distance']:.3f}, drift {results['drift']:.4f}")  # fmt: skip
    return results


def _spread(conditions: list[str], count: int) -> list[str]:
    """`count` conditions, every distinct one as often as any other."""
    distinct = sorted(set(conditions))
    return [distinct[n % len(distinct)] for n in range(count)]


def _fresh(model, base, conditions, real, read, args, kept) -> dict:
    """Quality of images of random noise, and how far they are from the original model's."""
    import torch

    from ttsnap.sft.generator import base_noise
    from ttsnap.sft.metrics import frechet_distance, images_of, to_bytes

    noise = base_noise(model, args.seed, [f"fresh {n}" for n in range(len(conditions))])
    images = images_of(model, noise, model.embed(conditions))
    if not torch.isfinite(images).all():
        raise TtsnapError(f"{model.version}: makes images that are not finite; lower its rate")
    drift = float((images - images_of(base, noise, base.embed(conditions))).square().mean())
    (features, found), (real_features, _) = read(images), read(real)
    fresh = {
        "samples": len(images),
        "feature_distance": frechet_distance(features.numpy(), real_features.numpy()),
    }
    if found is not None:
        (labels,) = model.embed(conditions)
        fresh["class_accuracy"] = float((found == labels.cpu()).float().mean())
    if args.checker:
        from ttsnap.shapes.checker import check

        accepted, _ = check(to_bytes(images), conditions)
        fresh["accepted"] = float(accepted.mean())
    kept["fresh"] = to_bytes(images[:SHOWN])
    return {"fresh": fresh, "drift": drift}


def _classifier(path: str, data: str | None):
    from ttsnap.sft.classifier import load_classifier

    net = load_classifier(path)
    if data not in (None, net.data):
        raise BadInput(f"--classifier: {path} was trained on {net.data}, --data is {data}")
    return net.read


def _clip(path: str):
    """Image features of a CLIP folder; no classes."""
    import torch

    from ttsnap.rewards.clip import ClipReward

    reward = ClipReward(path).eval()

    @torch.inference_mode()
    def read(images: torch.Tensor):
        parts = [reward.image_features(reward.preprocess(part)) for part in images.split(128)]
        return torch.cat(parts), None

    return read


def _write_images(path: str, kept: dict, conditions: dict, fresh: list[str]) -> None:
    import json

    from safetensors.numpy import save_file

    about = {**conditions, "fresh": fresh[:SHOWN]}
    with replacing(path) as temporary:
        save_file(kept, temporary, metadata={"ttsnap": json.dumps(about)})
