"""The weights that ship with ttsnap, and how a config names a model: a folder, a hub id or `embedded:NAME`."""

import hashlib
import os
from pathlib import Path

from ttsnap.assets import how_to_get, local_copy
from ttsnap.errors import BadInput
from ttsnap.model_checks import check_folder

EMBEDDED = Path(__file__).parent


def resolve(path: str | Path) -> str:
    """The folder or file behind a config's model name; a hub id stays one, unless `ttsnap download` fetched it.

    Raises BadInput for an `embedded:` name that does not exist.
    """
    path = os.path.expanduser(path)
    if not path.startswith("embedded:"):
        return local_copy(path)
    found = EMBEDDED / path.removeprefix("embedded:")
    if not found.exists():
        names = sorted(p.name for p in EMBEDDED.iterdir() if p.is_dir() and p.name[0] not in "._")
        raise BadInput(f"{path}: no such embedded model; there are {', '.join(names)}")
    return str(found)


def check_there(path: str, key: str) -> None:
    """Raise BadInput, naming the config key, when nothing is at `path`; hub ids pass unchecked."""
    local = (
        path.startswith(("/", "./", "../", "~", "models/"))
        or path.count("/") > 1
        or path.endswith("/")
    )
    if path.startswith("embedded:"):
        try:
            resolve(path)
        except BadInput as error:
            raise BadInput(f"{key}: {error}") from None
    elif local and not Path(resolve(path)).exists():
        hint = how_to_get(path)
        raise BadInput(f"{key}: {path}: no such file or folder{hint and '; ' + hint}")


def check_model(path: str, key: str) -> None:
    """Raise BadInput, naming the config key, when `path` is neither a diffusers folder nor looks like a hub id."""
    check_there(path, key)
    found = Path(resolve(path))
    if found.is_dir() and not (found / "model_index.json").is_file():
        raise BadInput(
            f"{key}: {path}: no model_index.json in it; name a folder of a diffusers pipeline"
        )
    if found.is_dir():
        try:
            check_folder(found)
        except BadInput as error:
            raise BadInput(f"{key}: {error}") from None
    if not found.is_dir() and (path.count("/") != 1 or " " in path):
        hint = (
            how_to_get(path)
            or "name a diffusers folder, a hub id like stabilityai/sdxl-turbo, or embedded:NAME"
        )
        raise BadInput(f"{key}: {path!r}: no such folder; {hint}")


def model_version(path: str) -> str:
    """The model's name and the first 12 hex digits of its weights' SHA-256 (the name alone for a hub id)."""
    place = Path(path)
    files = sorted(place.rglob("*.safetensors")) if place.is_dir() else [place]
    if not files or not files[0].is_file():
        return path
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return f"{place.name}@{digest.hexdigest()[:12]}"


def weights_digest(path: str) -> str:
    """`model_version` of an embedded model; the name alone of any other, whose weights may be many gigabytes."""
    return model_version(resolve(path)) if path.startswith("embedded:") else path
