"""The weights that ship with ttsnap, and how a config names a model: a folder, a hub id or `embedded:NAME`."""

import hashlib
from pathlib import Path

from ttsnap.assets import local_copy
from ttsnap.errors import BadInput

EMBEDDED = Path(__file__).parent


def resolve(path: str | Path) -> str:
    """The folder or file behind a config's model name; a hub id stays one, unless `ttsnap download` fetched it.

    Raises BadInput for an `embedded:` name that does not exist.
    """
    path = str(path)
    if not path.startswith("embedded:"):
        return local_copy(path)
    found = EMBEDDED / path.removeprefix("embedded:")
    if not found.exists():
        names = sorted(p.name for p in EMBEDDED.iterdir() if p.is_dir() and p.name[0] not in "._")
        raise BadInput(f"{path}: no such embedded model; there are {', '.join(names)}")
    return str(found)


def check_there(path: str, key: str) -> None:
    """Raise BadInput, naming the config key, when nothing is at `path`; hub ids pass unchecked."""
    local = path.startswith(("/", "./", "../", "~")) or path.count("/") > 1 or path.endswith("/")
    if path.startswith("embedded:"):
        try:
            resolve(path)
        except BadInput as error:
            raise BadInput(f"{key}: {error}") from None
    elif local and not Path(path).expanduser().exists():
        raise BadInput(f"{key}: {path}: no such file or folder")


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
