"""The options that name a text-to-image model and say how it is sampled."""

import argparse

from pydantic import ValidationError

from ttsnap.commands.device_options import has_fast_bfloat16
from ttsnap.errors import BadInput
from ttsnap.models import check_model
from ttsnap.settings.presets import PRESETS
from ttsnap.settings.section import nearest


def add_model(parser: argparse.ArgumentParser, steps: str = "--steps") -> None:
    """--model and the keys of the config's `model`; what is not given is the preset's or the config's default.

    steps: what the option for the number of denoising steps is called.
    """
    parser.set_defaults(steps_option=steps)
    parser.add_argument(
        "--model",
        required=True,
        help=f"diffusers folder, hub id, embedded:NAME, or a preset: {', '.join(PRESETS)}",
    )
    whole = {
        steps: "denoising steps; 20 unless the preset says otherwise",
        "--height": "pixels; 512 unless the preset says otherwise",
        "--width": "pixels; 512 unless the preset says otherwise",
        "--batch-size": "candidates denoised at once; 8 unless the preset says otherwise (search: by memory)",
    }
    for name, text in whole.items():
        dest = "steps" if name == steps else None
        parser.add_argument(name, dest=dest, type=int, default=argparse.SUPPRESS, help=text)
    parser.add_argument(
        "--guidance",
        type=float,
        default=argparse.SUPPRESS,
        help="guidance scale; 5.0 unless the preset says otherwise",
    )
    words = {
        "--dtype": "auto, float32, bfloat16 or float16",
        "--family": "sdxl, flux or sd15; as the folder says if not given",
        "--offload": "none, model or sequential",
    }
    for name, text in words.items():
        parser.add_argument(name, default=argparse.SUPPRESS, help=text)
    for name, text in (
        ("--compile", "torch.compile the denoiser"),
        ("--slicing", "decode one image at a time"),
    ):
        parser.add_argument(
            name, action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=text
        )
    parser.add_argument(
        "--negtome",
        nargs="*",
        metavar="KEY=VALUE",
        default=argparse.SUPPRESS,
        help="push the candidates of a group apart; keys: group, alpha, threshold, first, last, variant; "
        "none: the published values; `off` turns the preset's off",
    )


def model_settings(args: argparse.Namespace):
    """The config's `Model` that the options make. Raises BadInput with the option at fault, before any slow import."""
    from ttsnap.settings.model import Model

    values = {k: v for k, v in vars(args).items() if k in Model.model_fields and k != "negtome"}
    values |= {"preset": args.model} if args.model in PRESETS else {"path": args.model}
    if "negtome" in args:
        values["negtome"] = _pairs(args.negtome)
    try:
        settings = Model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = "--" + " ".join(str(part) for part in first["loc"]).replace("_", "-")
        where = {"--steps": args.steps_option, "--path": "--model"}.get(where, where)
        near = nearest(first, Model)
        raise BadInput(f"{where}: {first['msg']}, got {str(first['input'])[:60]!r}{near}") from None
    check_model(settings.path, "--model")
    return settings


def _pairs(words: list[str]) -> dict | None:
    """KEY=VALUE words as a table; None for `off`."""
    if words == ["off"]:
        return None
    pairs = [word.partition("=") for word in words]
    if not all(equals for _, equals, _ in pairs):
        raise BadInput(f"--negtome {' '.join(words)}: give KEY=VALUE, or off")
    return {key: value for key, _, value in pairs}


def open_model(args: argparse.Namespace, device: str):
    """(settings, sampler) that the options name, on `device`."""
    from ttsnap.models import resolve
    from ttsnap.samplers import load_sampler

    settings = model_settings(args)
    keys = (
        "family",
        "steps",
        "guidance",
        "height",
        "width",
        "offload",
        "compile",
        "slicing",
        "negtome",
    )
    dtype = settings.dtype
    if dtype == "auto":
        dtype = "bfloat16" if has_fast_bfloat16(device) else "float32"
    options = {key: getattr(settings, key) for key in keys}
    return settings, load_sampler(resolve(settings.path), device=device, dtype=dtype, **options)
