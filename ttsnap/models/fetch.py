"""Fetching files over HTTP: resumed where a connection broke, checked by size and hash, whole or not at all."""

import dataclasses
import hashlib
import json
import os
import tarfile
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from ttsnap.errors import BadInput, TtsnapError
from ttsnap.models.assets import HPS_VERSION, Files, Source, home, sources
from ttsnap.storage.files import replacing

ATTEMPTS = 6  # in a row that bring nothing new
CHUNK = 1 << 20
TIMEOUT = 60.0


@dataclass(frozen=True)
class Remote:
    """One file: where it is, its name inside the asset, and what it must be."""

    url: str
    name: str
    size: int
    algorithm: str  # sha256, md5, or git: SHA-1 of git's blob
    digest: str


def listing(source: Source | Files) -> list[Remote]:
    """The wanted files of a repository as its host lists them, or those of a data set.

    Raises BadInput where it needs a token or does not exist, TtsnapError where the host cannot be reached.
    """
    if isinstance(source, Files):
        return [
            Remote(source.address + name, name, size, "md5", digest) for name, (size, digest) in source.files.items()
        ]
    if source.repo.startswith("github:"):
        return _github(source)
    base = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    url = f"{base}/api/models/{source.repo}/tree/{source.revision}?recursive=true"
    files = []
    for entry in _json_pages(url, source.repo):
        if entry["type"] == "file" and source.wants(entry["path"]):
            large = entry.get("lfs")
            check = ("sha256", large["oid"]) if large else ("git", entry["oid"])
            place = f"{base}/{source.repo}/resolve/{source.revision}/"
            url = place + urllib.parse.quote(entry["path"])
            files.append(Remote(url, entry["path"], entry["size"], *check))
    return _some(files, source)


def _github(source: Source) -> list[Remote]:
    base = os.environ.get("GITHUB_API", "https://api.github.com").rstrip("/")
    repo = source.repo.removeprefix("github:")
    url = f"{base}/repos/{repo}/contents/?ref={source.revision}"
    return _some(
        [
            Remote(entry["download_url"], entry["name"], entry["size"], "git", entry["sha"])
            for entry in _json_pages(url, source.repo)
            if entry["type"] == "file" and source.wants(entry["name"])
        ],
        source,
    )


def _some(files: list[Remote], source: Source) -> list[Remote]:
    if not files:
        raise TtsnapError(f"{source.repo}: has none of {', '.join(source.files)} any more")
    return files


def _json_pages(url: str | None, repo: str):
    """All entries of a listing, following the host's links to further pages."""
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
    """Bring what is missing or wrong of an asset to `folder`, or to its home, and unpack it.

    hps_version: whose weights of HPSv2. address: another one of a data set, ending in /. Returns {"folder", "files",
    "fetched": those of them that were fetched now}. Raises as `listing` and `fetch` do.
    """
    folder = Path(folder) if folder else home(name)
    wanted = sources(name, hps_version)
    if address:
        wanted = [dataclasses.replace(source, address=address) for source in wanted]
    try:
        remotes = [remote for source in wanted for remote in listing(source)]
    except TtsnapError as error:
        raise type(error)(f"{name}: {_what_is_there(folder)}; {error}") from None
    fetched = [remote.name for remote in remotes if fetch(remote, folder / remote.name)]
    files = [remote.name for remote in remotes]
    for file in files:
        if file.endswith(".tar.gz"):
            unpack(folder / file)
    return {"folder": str(folder), "files": files, "fetched": fetched}


def _what_is_there(folder: Path) -> str:
    """What there is of an asset, for a message when its host cannot be asked."""
    count = sum(1 for p in folder.rglob("*") if p.is_file()) if folder.is_dir() else 0
    return f"{count} files in {folder}, not checked" if count else f"nothing in {folder}"


def fetch(remote: Remote, path: Path) -> bool:
    """Bring one file to `path`; False when it was there already and right.

    A file of other content in its place is kept as `path`.replaced.
    A broken download goes on from `path`.part, also in a later run. Raises TtsnapError, with the
    address and what was wrong, when it cannot be had whole or is not the published file.
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
    """Ask for the rest of a file and add what comes."""
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
    """Whether a file has the size and hash it should have."""
    size = path.stat().st_size
    if size != remote.size:
        return False
    if remote.algorithm == "git":
        digest = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
    else:
        digest = hashlib.new(remote.algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(CHUNK):
            digest.update(block)
    return digest.hexdigest() == remote.digest


def unpack(archive: Path) -> None:
    """Put the .bin files of a data set's tar archive beside it, whatever folders it names."""
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            content = tar.extractfile(member) if member.name.endswith(".bin") else None
            if content is not None:
                with replacing(archive.parent / Path(member.name).name) as temporary:
                    temporary.write_bytes(content.read())


class _DropTokenElsewhere(urllib.request.HTTPRedirectHandler):
    """The token is for the hub alone, not for the host it redirects to."""

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
