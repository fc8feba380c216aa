"""Where a reward's class is defined and which options it takes, without importing it."""

import ast
import importlib.util

from ttsnap.errors import BadInput, did_you_mean
from ttsnap.models import check_there, model_version, resolve, weights_digest
from ttsnap.settings.kinds import KINDS
from ttsnap.storage.code_digest import module_file

REQUIRED = object()


def reward_target(kind: str) -> tuple[str, str]:
    """Module and class name of a reward kind. Raises BadInput for a kind that is neither known nor an import path."""
    module, colon, name = KINDS.get(kind, kind).partition(":")
    if not (colon and module and name):
        raise BadInput(
            f"reward kind {kind!r} is unknown: use one of {', '.join(KINDS)}, or your class as package.module:Class"
            f"{did_you_mean(kind, KINDS)}"
        )
    return module, name


def reward_module(kind: str) -> str:
    """The module of a reward kind."""
    return reward_target(kind)[0]


def check_options(kind: str, options: dict, kind_key: str, option_key: str) -> None:
    """Raise BadInput, naming the key, for an unknown kind, options it does not take, and files that do not exist.

    kind_key: the key of the kind; option_key: the prefix of an option's key. Reads the source of the class and imports
    nothing: what a reward needs is not installed everywhere a config is read.
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
            hint = did_you_mean(option, takes)
            raise BadInput(f"{option_key}{option}: unknown key; {kind} takes {', '.join(takes)}{hint}")
    for option, default in takes.items():
        value = options.get(option, default)
        if value is REQUIRED:
            raise BadInput(f"{option_key}{option}: is missing; {kind} needs it")
        if isinstance(value, str):
            check_there(value, f"{option_key}{option}")


def identity(kind: str, options: dict, *, times: bool = True) -> dict:
    """A reward's options, defaults included, with files by their content (times: large ones also by their times)."""
    defaults = parameters(*reward_target(kind)) or {}
    known = {key: value for key, value in defaults.items() if value not in (REQUIRED, None)}
    texts = {key: str(value) for key, value in sorted((known | options).items())}
    named = weights_digest if times else lambda text: model_version(resolve(text))
    return {key: named(text) for key, text in texts.items()}


def parameters(module: str, name: str) -> dict[str, object] | None:
    """What a class takes, and `fit`: parameter → default, or REQUIRED; None where the source does not tell."""
    path = module_file(module)
    body = ast.parse(path.read_text(encoding="utf-8")).body if path else []
    classes = {node.name: node for node in body if isinstance(node, ast.ClassDef)}
    while name in classes:
        for node in classes[name].body:
            if isinstance(node, ast.FunctionDef) and node.name == "__init__":
                signature = node.args
                if signature.vararg or signature.kwarg or signature.kwonlyargs:
                    return None
                names = [argument.arg for argument in signature.args[1:]]
                defaults = [getattr(default, "value", None) for default in signature.defaults]
                defaults = [REQUIRED] * (len(names) - len(defaults)) + defaults
                return dict(zip(names, defaults, strict=True)) | {"fit": None}
        base = (classes[name].bases or [None])[0]
        name = base.id if isinstance(base, ast.Name) else ""
    return None
