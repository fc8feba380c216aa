"""Where a reward's class lives, without importing it."""

import ast
import importlib.util

from ttsnap.errors import BadInput, did_you_mean
from ttsnap.models import check_there, model_version, resolve, weights_digest
from ttsnap.settings.kinds import KINDS
from ttsnap.storage.code_digest import module_file

REQUIRED = object()


def reward_target(kind: str) -> tuple[str, str]:
    """Module and class name of a reward kind. Raises BadInput for a kind that is neither known nor a path."""
    module, colon, name = KINDS.get(kind, kind).partition(":")
    if not (colon and module and name):
        known = ", ".join(KINDS)
        raise BadInput(
            f"reward kind {kind!r} is unknown: use one of {known}, or your class as package.module:Class"
            f"{did_you_mean(kind, KINDS)}"
        )
    return module, name


def reward_module(kind: str) -> str:
    """The module of a reward kind."""
    return reward_target(kind)[0]


def check_options(kind: str, options: dict, kind_key: str, option_key: str) -> None:
    """Raise BadInput, naming the key, for a kind that does not exist, options it does not take, files not there.

    kind_key names the kind; option_key is what stands before an option's name.

    Reads the source of the class and imports nothing: what a reward needs is not there wherever a config is read.
    """
    try:
        module, name = reward_target(kind)
    except BadInput as error:
        raise BadInput(f"{kind_key}: {error}") from None
    if module_file(module) is None and importlib.util.find_spec(module.split(".")[0]) is None:
        raise BadInput(f"{kind_key}: there is no module {module} here; name one that Python finds")
    takes = parameters(module, name)
    if takes is None:
        return
    for option in options:
        if option not in takes:
            known = ", ".join(takes)
            hint = did_you_mean(option, takes)
            raise BadInput(f"{option_key}{option}: unknown key; {kind} takes {known}{hint}")
    for option, default in takes.items():
        value = options.get(option, default)
        if value is REQUIRED:
            raise BadInput(f"{option_key}{option}: is missing; {kind} needs it")
        if isinstance(value, str):
            check_there(value, f"{option_key}{option}")


def identity(kind: str, options: dict, *, times: bool = True) -> dict:
    """What a reward is made with, defaults included, its files by content (of large ones the times, too)."""
    defaults = parameters(*reward_target(kind)) or {}
    known = {key: value for key, value in defaults.items() if value not in (REQUIRED, None)}
    texts = {key: str(value) for key, value in sorted((known | options).items())}
    named = weights_digest if times else lambda text: model_version(resolve(text))
    return {key: named(text) for key, text in texts.items()}


def parameters(module: str, name: str) -> dict[str, object] | None:
    """What a class is made with, and `fit`: parameter → default, or REQUIRED; None where no source says it."""
    path = module_file(module)
    body = ast.parse(path.read_text(encoding="utf-8")).body if path else []
    classes = {node.name: node for node in body if isinstance(node, ast.ClassDef)}
    while name in classes:
        for node in classes[name].body:
            if isinstance(node, ast.FunctionDef) and node.name == "__init__":
                given = node.args
                if given.vararg or given.kwarg or given.kwonlyargs:
                    return None
                names = [argument.arg for argument in given.args[1:]]
                defaults = [getattr(default, "value", None) for default in given.defaults]
                defaults = [REQUIRED] * (len(names) - len(defaults)) + defaults
                return dict(zip(names, defaults, strict=True)) | {"fit": None}
        base = (classes[name].bases or [None])[0]
        name = base.id if isinstance(base, ast.Name) else ""
    return None
