"""The weights that ship with ttsnap, and how a config names a model: a folder, a hub id or `embedded:NAME`."""

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
    """The folder or file behind a config's model name; a hub id stays one, unless `ttsnap download` fetched it.

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
    """Raise BadInput, naming the config key, when nothing is at `path`; hub ids pass unchecked."""
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
    """Raise BadInput, naming the config key, when `path` is neither a diffusers folder nor looks like a hub id."""
    check_there(path, key)
    found = Path(resolve(path))
    if found.is_dir() and not (found / "model_index.json").is_file():
        raise BadInput(f"{key}: {path}: no model_index.json in it; name a folder of a diffusers pipeline")
    if found.is_dir():
        try:
            check_folder(found)
        except BadInput as error:
            raise BadInput(f"{key}: {error}") from None
    if not found.is_dir() and (path.count("/") != 1 or " " in path):
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

    Of a hub id: the commit that lies in the hub's cache, or the id alone. only, times: see `identity.digest`.
    """
    found = identity.digest(path, only, times) if str(path) else None
    if found:
        return f"{Path(path).resolve().name}@{found}"
    commit = _cached_commit(str(path))
    return f"{path}@{commit[:12]}" if commit else str(path)


def weights_digest(path: str | Path) -> str:
    """What a config or an option names, by content, so that an edit in place is always noticed.

    An embedded model, a folder, a file; a hub id by its commit, in the cache or, before it is fetched, on the hub;
    any other text is itself.
    """
    version = model_version(resolve(path), times=True)
    if version != str(path) or not _is_hub_id(version):
        return version
    from huggingface_hub import HfApi

    try:
        return f"{path}@{HfApi().model_info(version, timeout=5).sha[:12]}"
    except Exception:  # offline, or no such model: a job that needs it says so
        return version


def _is_hub_id(name: str) -> bool:
    return re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name) is not None


def _cached_commit(repo: str) -> str | None:
    """The commit of a hub id in the hub's cache; no network is asked."""
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
