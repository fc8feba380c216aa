"""Command-line options made from a settings model, one for each key, and back."""

import argparse
import typing

from pydantic import ValidationError

from ttsnap.commands.options import natural, number, refuse_beside
from ttsnap.errors import BadInput
from ttsnap.settings.finetune import Lora
from ttsnap.settings.section import Section, nearest


def add_settings(parser: argparse.ArgumentParser, model: type[Section]) -> None:
    """Declare an option for each key of `model`; a LoRA becomes --lora-rank and --lora-alpha."""
    for name, field in _single_values(model).items():
        if name == "lora":
            parser.add_argument(
                "--lora-rank", type=natural, default=0, help="adapters' rank; 0: none"
            )
            parser.add_argument(
                "--lora-alpha", type=number(above=0), default=16.0, help="alpha of them"
            )
            continue
        kinds = [
            k for k in (field.annotation, *typing.get_args(field.annotation)) if k in (int, float)
        ]
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=kinds[0] if kinds else str,
            default=field.default,
            help=field.description,
        )


def _single_values(model: type[Section]) -> dict:
    """The fields that an option can hold; a table of values by level is the config's alone."""
    fields = model.model_fields.items()
    return {
        name: field for name, field in fields if typing.get_origin(field.annotation) is not dict
    }


def take_settings(args: argparse.Namespace, model: type[Section]) -> dict:
    """The settings that the options gave. Raises BadInput naming the option at fault."""
    values = {name: getattr(args, name) for name in _single_values(model) if name != "lora"}
    try:
        if "lora" in model.model_fields and not args.lora_rank:
            refuse_beside(args, "without --lora-rank", "--lora-alpha")
        elif "lora" in model.model_fields:
            values["lora"] = Lora(rank=args.lora_rank, alpha=args.lora_alpha)
        return model(**values).model_dump()
    except ValidationError as error:
        first = error.errors()[0]
        near = nearest(first, model)
        option = str(first["loc"][0]).replace("_", "-") if first["loc"] else model.__name__
        raise BadInput(
            f"--{option}: {first['msg']}, got {str(first['input'])[:60]!r}{near}"
        ) from None


def words(settings: dict) -> str:
    """The options that say `settings` on a command line."""
    settings = dict(settings)
    lora = settings.pop("lora", None)
    out = [
        f"--{name.replace('_', '-')} {value}"
        for name, value in settings.items()
        if value is not None
    ]
    if lora:
        out.append(f"--lora-rank {lora['rank']} --lora-alpha {lora['alpha']}")
    return " ".join(out)
