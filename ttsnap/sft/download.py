"""Fetching data sets from where they are published, byte for byte."""

import hashlib
import io
import shutil
import tarfile
import urllib.error
import urllib.request
from pathlib import Path

from tqdm import tqdm

from ttsnap.errors import BadInput, TtsnapError
from ttsnap.files import replacing

IDX = "train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"
# name: (address, {file: MD5 as published}).
SOURCES = {
    "mnist": (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        dict(zip(
            (f"{name}-ubyte.gz" for name in IDX),
            ("f68b3c2dcbeaaa9fbdd348bbdeb94873", "d53e105ee54ea40749a09fcbcd1e9432",
             "9fb629c4189551a2d022fa330f9573f3", "ec29112dd5afa0611ce80d1b7f02629c"),
            strict=True,
        )),
    ),
    "fashion_mnist": (
        "https://fashion-mnist.s3.eu-central-1.amazonaws.com/",
        dict(zip(
            (f"{name}-ubyte.gz" for name in IDX),
            ("8d4fb7e6c68d591d4c3dfef9ec88bf0d", "25c81989df183df01b3e8a0aad5dffbe",
             "bef4ecab320f06d8554ea6380940ec79", "bb300cfdad3c16e7a12a480ee83cd310"),
            strict=True,
        )),
    ),
    "cifar10": (
        "https://www.cs.toronto.edu/~kriz/",
        {"cifar-10-binary.tar.gz": "c32a1d4ab5d03f1284b67883e8d87530"},
    ),
}  # fmt: skip


def download(name: str, out: str | Path, address: str | None = None) -> list[Path]:
    """Fetch what `data.load_images` reads into a folder; files that are there and right are kept.

    address: where else to fetch from (https://…/ or file:///…/). Raises BadInput for an unknown name, TtsnapError when
    a file cannot be fetched or is not the published one.
    """
    if name not in SOURCES:
        raise BadInput(f"{name}: nothing to download; there are {', '.join(SOURCES)}")
    published, files = SOURCES[name]
    paths = []
    for file, md5 in files.items():
        path = Path(out) / file
        if not (path.exists() and _md5(path) == md5):
            _fetch((address or published) + file, path, md5)
        if path.name.endswith(".tar.gz"):
            paths += _unpack(path)
        else:
            paths.append(path)
    return paths


def _fetch(url: str, path: Path, md5: str) -> None:
    with replacing(path) as temporary:
        try:
            with urllib.request.urlopen(url, timeout=60) as source, temporary.open("wb") as out:
                size = int(source.headers.get("Content-Length") or 0) or None
                with tqdm.wrapattr(source, "read", total=size, desc=path.name) as read:
                    shutil.copyfileobj(read, out, 1 << 20)
        except (urllib.error.URLError, OSError, ValueError) as error:
            raise TtsnapError(f"{url}: cannot be fetched ({error})") from None
        if (found := _md5(temporary)) != md5:
            raise TtsnapError(f"{url}: is not the published file (MD5 {found}, expected {md5})")


def _unpack(archive: Path) -> list[Path]:
    """The .bin files of CIFAR-10's archive, beside it."""
    paths = []
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            if member.isfile() and member.name.endswith(".bin"):
                path = archive.parent / Path(member.name).name
                with replacing(path) as temporary:
                    temporary.write_bytes((tar.extractfile(member) or io.BytesIO()).read())
                paths.append(path)
    return paths


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
