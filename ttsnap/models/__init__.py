"""The models that ship with ttsnap, and the names a config gives a model: a folder, a hub id or `embedded:NAME`."""

import os
import re
from pathlib import Path

from ttsnap.errors import BadInput, did_you_mean
from ttsnap.models.assets import how_to_get, local_copy
from ttsnap.models.checks import check_folder
from ttsnap.settings.presets import PRESETS
from ttsnap.storage import content as identity

EMBEDDED = Path(__file__).parent


def resolve(path: str | Path) -> str:
    """The folder or file behind a model name; a hub id stays one unless `ttsnap download` fetched it.

    Raises BadInput for an `embedded:` name that does not exist.
    """
    path = os.path.expanduser(path)
    if not path.startswith("embedded:"):
        return local_copy(path)
    found = EMBEDDED / path.removeprefix("embedded:")
    if not found.exists():
        names = sorted(p.name for p in EMBEDDED.iterdir() if p.is_dir() and p.name[0] not in "._")
        hint = did_you_mean(path.removeprefix("embedded:"), names)
        raise BadInput(f"{path}: no such embedded model; there are {', '.join(names)}{hint}")
    return str(found)


def check_there(path: str, key: str) -> None:
    """Raise BadInput, naming the config key, when `path` does not exist; hub ids pass unchecked."""
    local = path.startswith(("/", "./", "../", "~", "models/")) or path.count("/") > 1 or path.endswith("/")
    if path.startswith("embedded:"):
        try:
            resolve(path)
        except BadInput as error:
            raise BadInput(f"{key}: {error}") from None
    elif local and not Path(resolve(path)).exists():
        hint = how_to_get(path)
        raise BadInput(f"{key}: {path}: no such file or folder{hint and '; ' + hint}")


def check_model(path: str, key: str) -> None:
    """Raise BadInput, naming the config key, unless `path` is a diffusers folder or looks like a hub id."""
    check_there(path, key)
    found = Path(resolve(path))
    if found.is_dir():
        if not (found / "model_index.json").is_file():
            raise BadInput(f"{key}: {path}: no model_index.json in it; name a folder of a diffusers pipeline")
        try:
            check_folder(found)
        except BadInput as error:
            raise BadInput(f"{key}: {error}") from None
    elif path.count("/") != 1 or " " in path:
        hint = (
            how_to_get(path)
            or did_you_mean(path, PRESETS).removeprefix("; ")
            or "name a diffusers folder, a hub id like stabilityai/sdxl-turbo, or embedded:NAME"
        )
        raise BadInput(f"{key}: {path!r}: no such folder; {hint}")


def check_generator(path: str, key: str) -> None:
    """Raise BadInput as `check_model`; a folder with a config.json may be a GAN's."""
    if not (Path(resolve(path)) / "config.json").is_file():
        check_model(path, key)


def model_version(path: str | Path, only: tuple[str, ...] = (), *, times: bool = False) -> str:
    """The model's name and 12 hex digits of its files' contents: weights, configs, scheduler, tokenizer.

    For a hub id: the id, with the commit in the hub's cache if there is one. only, times: see `identity.digest`.
    """
    if str(path) and (found := identity.digest(path, only, times)):
        return f"{Path(path).resolve().name}@{found}"
    commit = _cached_commit(str(path))
    return f"{path}@{commit[:12]}" if commit else str(path)


def weights_digest(path: str | Path) -> str:
    """The identity, by content, of what a config or an option names, so that any edit in place shows.

    An embedded model, a folder, a file; a hub id by its commit, in the cache or else on the hub; other text as it is.
    """
    version = model_version(resolve(path), times=True)
    if version != str(path) or not _is_hub_id(version):
        return version
    from huggingface_hub import HfApi

    try:
        return f"{path}@{HfApi().model_info(version, timeout=5).sha[:12]}"
    except Exception:  # offline, or no such model: the job that needs it reports it
        return version


def _is_hub_id(name: str) -> bool:
    return re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name) is not None


def _cached_commit(repo: str) -> str | None:
    """The commit of a hub id in the hub's cache, without network access."""
    if not _is_hub_id(repo):
        return None
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    for name in ("model_index.json", "config.json"):
        try:
            found = try_to_load_from_cache(repo, name)
        except HFValidationError:
            return None
        if isinstance(found, str):
            return Path(found).parts[-2]
    return None
