"""Images of any mode are read as a viewer shows them on white, by `import-images` and by the targets of `assign`."""

import os
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from ttsnap.cli import main
from ttsnap.errors import BadInput
from ttsnap.sft.targets import BadTarget, read_image
from ttsnap.storage.image_shards import read_shard
from ttsnap.storage.images import read_rgb
from ttsnap.storage.tree import find_tree

SIDE = 16
RAMP = np.arange(SIDE * SIDE, dtype=np.uint8).reshape(SIDE, SIDE)  # all of 0..255
COLOURS = np.stack([RAMP, RAMP[::-1], RAMP.T], axis=2)
GREY = np.repeat(RAMP[..., None], 3, axis=2)
HALF = np.where(np.arange(SIDE)[:, None] < SIDE // 2, 255, 0).astype(np.uint8)  # opaque above
HALF = np.broadcast_to(HALF, (SIDE, SIDE))
SEEN = np.where(HALF[..., None] > 0, COLOURS, 255)
GREY_SEEN = np.where(HALF[..., None] > 0, GREY, 255)
TURNS = {1: 0, 3: 2, 6: -1, 8: 1}  # EXIF orientation → quarter turns of the stored pixels
MIRRORED = {2: 0, 4: 2, 5: 1, 7: -1}  # the same of the mirrored ones


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(kind: int, bits: int, rows: bytes, *more: bytes) -> bytes:
    """A PNG of SIDE × SIDE, for modes that Pillow does not write."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", SIDE, SIDE, bits, kind, 0, 0, 0))
    width = len(rows) // SIDE
    lines = b"".join(b"\0" + rows[at : at + width] for at in range(0, len(rows), width))
    data = chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(more) + data


def saved(image: Image.Image, format: str = "PNG", **options):
    return lambda path: image.save(path, format, **options)


def written(data: bytes):
    return lambda path: path.write_bytes(data)


def palette() -> Image.Image:
    image = Image.fromarray(RAMP).convert("P")
    image.putpalette(COLOURS.reshape(-1, 3).tobytes())
    return image


def turned(orientation: int, format: str):
    image = Image.fromarray(COLOURS)
    exif = image.getexif()
    exif[0x0112] = orientation
    return saved(image, format, exif=exif)


def upright(orientation: int) -> np.ndarray:
    if orientation in TURNS:
        return np.rot90(COLOURS, TURNS[orientation])
    return np.rot90(COLOURS[:, ::-1], MIRRORED[orientation])


RGBA = Image.fromarray(np.dstack([COLOURS, HALF]))
DEEP = (RAMP.astype(np.uint16) * 257).astype(">u2")
DEEP_RGB = (COLOURS.astype(np.uint16) * 257).astype(">u2")
GOOD = {
    "1": (saved(Image.fromarray(HALF > 0)), np.repeat(HALF[..., None], 3, axis=2)),
    "L": (saved(Image.fromarray(RAMP)), GREY),
    "LA": (saved(Image.fromarray(np.dstack([RAMP, HALF]))), GREY_SEEN),
    "L with a clear grey": (saved(Image.fromarray(RAMP), transparency=7),
                            np.where(GREY == 7, 255, GREY)),
    "P": (saved(palette()), COLOURS),
    "P with a clear colour": (saved(palette(), transparency=HALF.tobytes()), SEEN),
    "P of a GIF": (saved(palette(), "GIF"), COLOURS),
    "RGB": (saved(Image.fromarray(COLOURS)), COLOURS),
    "RGB of a BMP": (saved(Image.fromarray(COLOURS), "BMP"), COLOURS),
    "RGB of a TIFF": (saved(Image.fromarray(COLOURS), "TIFF"), COLOURS),
    "RGB of a WebP": (saved(Image.fromarray(COLOURS), "WEBP", lossless=True), COLOURS),
    "RGBA": (saved(RGBA), SEEN),
    "RGBA of a TIFF": (saved(RGBA, "TIFF"), SEEN),
    "RGBA of a WebP": (saved(RGBA, "WEBP", lossless=True, exact=True), SEEN),
    "RGBX": (saved(Image.fromarray(COLOURS).convert("RGBX"), "TIFF"), COLOURS),
    "CMYK": (saved(Image.fromarray(255 - COLOURS).convert("CMYK"), "TIFF"), 255 - COLOURS),
    "I;16": (saved(Image.fromarray(DEEP.astype("<u2"))), GREY),
    "I;16 of a TIFF": (saved(Image.fromarray(DEEP.astype("<u2")), "TIFF"), GREY),
    "I;16B": (saved(Image.frombytes("I;16B", (SIDE, SIDE), DEEP.tobytes()), "TIFF"), GREY),
    "I": (saved(Image.fromarray(DEEP.astype(np.int32)), "TIFF"), GREY),
    "16 bits of RGB": (written(png(2, 16, DEEP_RGB.tobytes())), COLOURS),
    "16 bits of grey, one clear": (
        written(png(0, 16, DEEP.tobytes(), chunk(b"tRNS", struct.pack(">H", 7 * 257)))),
        np.where(GREY == 7, 255, GREY),
    ),
    "16 bits of grey and alpha": (
        written(png(4, 16, np.dstack([DEEP, HALF.astype(np.uint16) * 257]).astype(">u2").tobytes())),
        GREY_SEEN,
    ),
    **{f"PNG turned {n}": (turned(n, "PNG"), upright(n)) for n in range(1, 9)},
    **{f"TIFF turned {n}": (turned(n, "TIFF"), upright(n)) for n in range(1, 9)},
}  # fmt: skip
TO_LAB = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
CLOSE = {  # kinds that lose something on the way: how far a pixel may be off
    "JPEG": (saved(Image.fromarray(GREY), "JPEG", quality=100), GREY, 3),
    "CMYK JPEG": (saved(Image.fromarray(GREY).convert("CMYK"), "JPEG", quality=100), GREY, 6),
    "YCbCr": (saved(Image.fromarray(GREY).convert("YCbCr"), "TIFF"), GREY, 3),
    "LAB": (saved(ImageCms.applyTransform(Image.fromarray(GREY), TO_LAB), "TIFF"), GREY, 4),
}


def targets_of(path) -> np.ndarray:
    return read_image(path, (3, SIDE, SIDE))


def tree_of(path) -> np.ndarray:
    return find_tree(path.parents[2]).images(0)[0, 0]


@pytest.fixture
def place(tmp_path):
    path = tmp_path / "tree" / "p0000" / "id000" / "s00.png"
    path.parent.mkdir(parents=True)
    return path


@pytest.mark.parametrize("read", [targets_of, tree_of])
@pytest.mark.parametrize("mode", GOOD)
def test_every_mode_is_read_as_a_viewer_shows_it(place, mode, read):
    write, expected = GOOD[mode]
    write(place)
    assert np.array_equal(read(place), expected)


@pytest.mark.parametrize("read", [targets_of, tree_of])
@pytest.mark.parametrize("mode", CLOSE)
def test_lossy_modes_are_close(place, mode, read):
    write, expected, off = CLOSE[mode]
    write(place)
    assert np.abs(read(place).astype(int) - expected).max() <= off


def several(format: str):
    pages = [Image.fromarray(COLOURS), Image.fromarray(255 - COLOURS)]
    return lambda path: pages[0].save(path, format, save_all=True, append_images=pages[1:])


def huge(side: int):
    return lambda path: Image.new("1", (side, side)).save(path)


def linked(path):
    path.symlink_to("nowhere.png")


GOOD_PNG = png(2, 8, COLOURS.tobytes())
BAD = {
    "a float TIFF": (saved(Image.fromarray(np.eye(16, dtype=np.float32)), "TIFF"), "fractions"),
    "32 bits": (saved(Image.fromarray(np.full((16, 16), 70000, np.int32)), "TIFF"), "16 bits"),
    "a GIF that moves": (several("GIF"), "2 frames"),
    "a PNG that moves": (several("PNG"), "2 frames"),
    "a WebP that moves": (several("WEBP"), "2 frames"),
    "pages of a TIFF": (several("TIFF"), "2 frames or pages"),
    "cut": (written(GOOD_PNG[:90]), "decoded"),
    "empty": (written(b""), "decoded"),
    "a page": (written(b"<html>"), "decoded"),
    "a broken chunk": (written(GOOD_PNG.replace(b"IDAT", b"\x81\x01\x02\x03")), "decoded"),
    "a bomb": (huge(9000), "more than 64,000,000 pixels"),
    "a bomb that Pillow warns of": (huge(9500), "more than 64,000,000 pixels"),
    "a bomb that Pillow refuses": (huge(14000), "decoded"),
    "a folder": (lambda path: path.mkdir(), "not a file"),
    "a pipe": (os.mkfifo, "not a file"),
    "a link to nothing": (linked, "no such file"),
    "SVG": (written(b'<svg xmlns="http://www.w3.org/2000/svg"/>'), "decoded"),
}


@pytest.mark.parametrize("harm", BAD)
def test_anything_but_a_still_image_is_refused_in_one_line(place, harm):
    write, says = BAD[harm]
    write(place)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(BadTarget, match=says) as target:
            targets_of(place)
        with pytest.raises(BadInput, match=says) as entry:
            tree_of(place)
    for error in (target, entry):
        assert str(error.value).startswith(str(place)) and "\n" not in str(error.value)


def test_import_images_and_assign_agree(place, tmp_path, capfd):
    """The commands themselves, on an image that is easily misread."""
    GOOD["16 bits of grey, one clear"][0](place)
    (tmp_path / "prompts.json").write_text('["a ramp"]')
    words = ["import-images", str(tmp_path / "tree"), "--prompts", str(tmp_path / "prompts.json")]
    assert main([*words, "--out", str(tmp_path / "all.h5")]) == 0
    assert np.array_equal(read_shard(tmp_path / "all.h5").images(0)[0, 0], targets_of(place))
    BAD["a bomb that Pillow warns of"][0](place)
    capfd.readouterr()
    assert main([*words, "--out", str(tmp_path / "bad.h5")]) == 2
    assert "Warning" not in (error := capfd.readouterr().err) and "s00.png" in error


def test_sizes_are_compared_after_rotation(tmp_path):
    """An image on its side and an upright one have the same size after rotation."""
    tall = Image.fromarray(COLOURS[:, :8])
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds = [(tall, {}), (tall.rotate(90, expand=True), {"exif": exif})]
    for candidate, (image, options) in enumerate(kinds):
        path = tmp_path / "p0000" / f"id{candidate:03d}" / "s00.png"
        path.parent.mkdir(parents=True)
        image.save(path, **options)
    images = find_tree(tmp_path).images(0)
    assert np.array_equal(images[0, 0], images[1, 0]) and images.shape[2:] == (16, 8, 3)
    assert np.array_equal(read_rgb(path), COLOURS[:, :8])
