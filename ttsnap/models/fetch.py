"""Fetch files over HTTP: resume broken downloads, check size and hash, write whole files or none."""

import dataclasses
import hashlib
import json
import os
import tarfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from ttsnap.errors import BadInput, TtsnapError
from ttsnap.models.assets import HPS_VERSION, DataFiles, Source, home, sources
from ttsnap.storage.files import replacing

ATTEMPTS = 6  # in a row without new bytes
CHUNK = 1 << 20
TIMEOUT = 60.0


@dataclass(frozen=True)
class Remote:
    """One file: its address, its name in the asset, and its expected size and hash."""

    url: str
    name: str
    size: int
    algorithm: str  # sha256, md5, or git: SHA-1 of git's blob
    digest: str


def listing(source: Source | DataFiles) -> list[Remote]:
    """The wanted files of a repository, as its host lists them, or of a data set.

    Raises BadInput when the repository needs a token or does not exist, TtsnapError when its host is unreachable or it
    has no wanted file.
    """
    if isinstance(source, DataFiles):
        return [
            Remote(source.address + name, name, size, "md5", digest) for name, (size, digest) in source.files.items()
        ]
    files = [f for f in (_github if source.repo.startswith("github:") else _hub)(source) if source.wants(f.name)]
    if not files:
        raise TtsnapError(f"{source.repo}: no longer has any of {', '.join(source.files)}")
    return files


def _hub(source: Source) -> Iterator[Remote]:
    base = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    for entry in _json_pages(f"{base}/api/models/{source.repo}/tree/{source.revision}?recursive=true", source.repo):
        if entry["type"] == "file":
            large = entry.get("lfs")
            check = ("sha256", large["oid"]) if large else ("git", entry["oid"])
            url = f"{base}/{source.repo}/resolve/{source.revision}/{urllib.parse.quote(entry['path'])}"
            yield Remote(url, entry["path"], entry["size"], *check)


def _github(source: Source) -> Iterator[Remote]:
    base = os.environ.get("GITHUB_API", "https://api.github.com").rstrip("/")
    repo = source.repo.removeprefix("github:")
    for entry in _json_pages(f"{base}/repos/{repo}/contents/?ref={source.revision}", source.repo):
        if entry["type"] == "file":
            yield Remote(entry["download_url"], entry["name"], entry["size"], "git", entry["sha"])


def _json_pages(url: str | None, repo: str) -> Iterator[dict]:
    """All entries of a listing, across its pages."""
    while url:
        try:
            with _open(url) as answer:
                yield from json.load(answer)
                links = answer.headers.get("Link", "")
        except urllib.error.HTTPError as error:
            if error.code in (401, 403, 404):
                raise BadInput(
                    f"{repo}: the host says {error.code}; accept its licence on its page and set HF_TOKEN"
                ) from None
            raise TtsnapError(f"{repo}: the host says {error.code}") from None
        except (OSError, ValueError) as error:
            raise TtsnapError(f"{repo}: {_host(url)} cannot be reached ({error})") from None
        url = links.split(">")[0].lstrip("<") if 'rel="next"' in links else None


def fetch_asset(
    name: str, folder: str | Path | None = None, hps_version: str = HPS_VERSION, address: str | None = None
) -> dict:
    """Fetch the missing or wrong files of an asset into `folder`, by default its home, and unpack them.

    hps_version: of the HPSv2 weights. address: to fetch a data set from, ending in /. Returns {"folder", "files",
    "fetched": the files fetched now}. Raises as `listing` and `fetch`.
    """
    folder = Path(folder) if folder else home(name)
    wanted = sources(name, hps_version)
    if address:
        wanted = [dataclasses.replace(source, address=address) for source in wanted]
    try:
        remotes = [remote for source in wanted for remote in listing(source)]
    except TtsnapError as error:
        raise type(error)(f"{name}: {_what_is_there(folder)}; {error}") from None
    files = [remote.name for remote in remotes]
    fetched = [remote.name for remote in remotes if fetch(remote, folder / remote.name)]
    for file in files:
        if file.endswith(".tar.gz"):
            unpack(folder / file)
    return {"folder": str(folder), "files": files, "fetched": fetched}


def _what_is_there(folder: Path) -> str:
    """The state of an asset's folder, for a message when its host is unreachable."""
    count = sum(1 for p in folder.rglob("*") if p.is_file()) if folder.is_dir() else 0
    return f"{count} files in {folder}, not checked" if count else f"nothing in {folder}"


def fetch(remote: Remote, path: Path) -> bool:
    """Fetch one file to `path`; returns False when it was already there and correct.

    Moves a different file in its place to `path`.replaced. A broken download resumes from `path`.part, also in a later
    run. Raises TtsnapError, naming the address, when the download keeps failing or is not the published file.
    """
    if path.is_file() and is_right(path, remote):
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    failures, error = 0, None
    while _size(part) < remote.size:
        before = _size(part)
        try:
            _append(remote, part)
        except urllib.error.HTTPError as problem:
            if problem.code == 416:
                part.unlink(missing_ok=True)
            elif problem.code in (401, 403, 404):
                hint = "" if remote.algorithm == "md5" else "; set HF_TOKEN"
                raise BadInput(f"{remote.url}: the host says {problem.code}{hint}") from None
            error = f"the host says {problem.code}"
        except OSError as problem:
            error = str(problem)
        failures = 0 if _size(part) > before else failures + 1
        if failures >= ATTEMPTS:
            raise TtsnapError(
                f"{remote.url}: broke off at {_size(part)} of {remote.size} bytes ({error}); run it again to go on"
            )
        time.sleep(min(10.0, 0.05 * 4**failures) if failures else 0)
    if not is_right(part, remote):
        part.unlink()
        raise TtsnapError(f"{remote.url}: what came is not the published file; run it again")
    if path.exists():  # it may be someone's work
        path.replace(path.with_name(path.name + ".replaced"))
    part.replace(path)
    return True


def _append(remote: Remote, part: Path) -> None:
    """Download the rest of a file into `part`."""
    have = _size(part)
    with _open(remote.url, {"Range": f"bytes={have}-"} if have else {}) as answer:
        resumed = answer.status == 206
        bar = tqdm(
            desc=remote.name, total=remote.size, initial=have if resumed else 0,
            unit="B", unit_scale=True, mininterval=5,
        )  # fmt: skip
        with part.open("ab" if resumed else "wb") as out, bar:
            while block := answer.read(CHUNK):
                out.write(block)
                bar.update(len(block))


def is_right(path: Path, remote: Remote) -> bool:
    """Whether a file has the expected size and hash."""
    size = path.stat().st_size
    if size != remote.size:
        return False
    if remote.algorithm == "git":
        digest = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
    else:
        digest = hashlib.new(remote.algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: digest).hexdigest() == remote.digest


def unpack(archive: Path) -> None:
    """Extract the .bin files of a data set's tar archive next to it, ignoring its folders."""
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            content = tar.extractfile(member) if member.name.endswith(".bin") else None
            if content is not None:
                with replacing(archive.parent / Path(member.name).name) as temporary:
                    temporary.write_bytes(content.read())


class _DropTokenElsewhere(urllib.request.HTTPRedirectHandler):
    """Do not send the hub's token to hosts that it redirects to."""

    def redirect_request(self, request, *args):
        again = super().redirect_request(request, *args)
        if again is not None and again.host != request.host:
            again.remove_header("Authorization")
        return again


def _open(url: str, headers: dict | None = None):
    request = urllib.request.Request(url, headers={"User-Agent": "ttsnap", **(headers or {})})
    token, hub = os.environ.get("HF_TOKEN"), os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    if token and url.startswith(hub.rstrip("/") + "/"):
        request.add_header("Authorization", f"Bearer {token}")
    return urllib.request.build_opener(_DropTokenElsewhere).open(request, timeout=TIMEOUT)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _host(url: str) -> str:
    return urllib.parse.urlsplit(url).netloc
