"""Every kind of image file against Pillow and numpy by hand; every grey level on every path."""

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL
import pytest
import torch
from PIL import Image, ImageOps
from torchvision.transforms.functional import pil_to_tensor

from datamodules import ImageFolder, Preprocessing, image_datamodule
from datamodules.decoding import ImageFacts, decoded, examined
from datamodules.preprocessing import converted, in_unit_range

RANDOM = np.random.RandomState(0)
PIXELS = RANDOM.randint(0, 256, (9, 11, 3), dtype=np.uint8)
COLOUR = Image.fromarray(PIXELS)
GREY = Image.fromarray(PIXELS[..., 0])
LEVELS = np.arange(256, dtype=np.uint8).reshape(16, 16)

# name: (image, options of `save`, channels)
FILES: dict[str, tuple[Image.Image, dict, int]] = {
    "colour.png": (COLOUR, {}, 3),
    "colour.JPG": (COLOUR, {}, 3),
    "colour.webp": (COLOUR, {}, 3),
    "colour.bmp": (COLOUR, {}, 3),
    "colour.tif": (COLOUR, {}, 3),
    "colour.ppm": (COLOUR, {}, 3),
    "colour.jp2": (COLOUR, {}, 3),
    "colour.gif": (COLOUR, {}, 3),
    "png named.jpg": (COLOUR, {"format": "PNG"}, 3),
    "tiff named.bmp": (COLOUR, {"format": "TIFF"}, 3),
    "grey.png": (GREY, {}, 1),
    "grey.jpg": (GREY, {}, 1),
    "grey.tif": (GREY, {"compression": "tiff_lzw"}, 1),
    "grey.pgm": (GREY, {}, 1),
    "one bit.png": (COLOUR.convert("1"), {}, 1),
    "one bit.tif": (COLOUR.convert("1"), {"compression": "group4"}, 1),
    "palette.png": (COLOUR.convert("P"), {}, 3),
    "grey palette.gif": (GREY, {}, 3),
    "alpha.png": (COLOUR.convert("RGBA"), {}, 3),
    "alpha.webp": (COLOUR.convert("RGBA"), {"lossless": True}, 3),
    "grey alpha.png": (GREY.convert("LA"), {}, 1),
    "palette alpha.tif": (COLOUR.convert("PA"), {}, 3),
    "cmyk.jpg": (COLOUR.convert("CMYK"), {}, 3),
    "cmyk.tif": (COLOUR.convert("CMYK"), {}, 3),
    "ycbcr.tif": (COLOUR.convert("YCbCr"), {}, 3),
    "lab.tif": (COLOUR.convert("LAB"), {}, 3),
    "one row.png": (Image.fromarray(PIXELS[:1]), {}, 3),
    "one column.png": (Image.fromarray(PIXELS[:, :1]), {}, 3),
    "one pixel.png": (Image.fromarray(PIXELS[:1, :1]), {}, 3),
}


@pytest.mark.parametrize("name", FILES)
def test_equals_torchvisions_loader_in_rgb(name: str, tmp_path: Path) -> None:
    """`convert("RGB")` of Pillow, as torchvision and timm decode; grey files have one channel."""
    image, options, channels = FILES[name]
    image.save(tmp_path / name, **options)
    ours = decoded(tmp_path / name)
    expected = pil_to_tensor(Image.open(tmp_path / name).convert("RGB"))
    assert ours.dtype == torch.uint8
    assert len(ours) == channels
    assert torch.equal(converted(ours, 3), expected)
    assert examined(tmp_path / name).shape == tuple(ours.shape)


def sixteen_bit_tiff(grey: np.ndarray, bits: int, photometric: int) -> bytes:
    """A little-endian TIFF by hand: Pillow writes neither 12 bits nor white as 0."""
    height, width = grey.shape
    if bits == 12:
        pairs = grey.astype(np.uint16).reshape(-1, 2)
        packed = np.stack(
            [pairs[:, 0] >> 4, (pairs[:, 0] & 15) << 4 | pairs[:, 1] >> 8, pairs[:, 1] & 255], 1
        )
        data = packed.astype(np.uint8).tobytes()
    else:
        data = grey.astype("<u2").tobytes()
    tags = [
        *((256, width), (257, height), (258, bits), (259, 1), (262, photometric)),
        *((273, 8), (277, 1), (278, height), (279, len(data))),
    ]
    head = struct.pack("<2sHI", b"II", 42, 8 + len(data))
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return head + data + struct.pack("<H", len(tags)) + entries + bytes(4)


SIXTEEN = np.array([[0, 257, 32896, 65535]], dtype=np.uint16)
DEEP: dict[str, Callable[[Path], object]] = {
    "sixteen.png": lambda file: Image.fromarray(SIXTEEN).save(file),
    "sixteen.tif": lambda file: Image.fromarray(SIXTEEN).save(file),
    "big endian.tif": lambda file: Image.fromarray(SIXTEEN.astype(">u2")).save(file),
    "sixteen.pgm": lambda file: file.write_bytes(
        b"P5 4 1 65535\n" + SIXTEEN.astype(">u2").tobytes()
    ),
    "ten bits.pgm": lambda file: file.write_bytes(
        b"P5 4 1 1023\n" + np.array([0, 4, 514, 1023], dtype=">u2").tobytes()
    ),
    "twelve bits.tif": lambda file: file.write_bytes(
        sixteen_bit_tiff(np.array([[0, 16, 2056, 4095]]), 12, 1)
    ),
    "white is zero.tif": lambda file: file.write_bytes(sixteen_bit_tiff(65535 - SIXTEEN, 16, 0)),
}


@pytest.mark.parametrize("name", DEEP)
def test_more_than_eight_bits_are_rounded_to_eight(name: str, tmp_path: Path) -> None:
    DEEP[name](tmp_path / name)
    assert decoded(tmp_path / name).tolist() == [[[0, 1, 128, 255]]]
    assert examined(tmp_path / name).sixteen_bit


HOLDS = {  # what a format can hold without loss
    "PNG": ("L", "RGB", "P", "LA", "RGBA", "I;16"),
    "TIFF": ("L", "RGB", "P", "LA", "RGBA", "I;16"),
    "PPM": ("L", "RGB", "I;16"),
    "BMP": ("L", "RGB", "P"),
    "WEBP": ("RGB", "RGBA"),
    "GIF": ("L", "P"),
}


@pytest.mark.parametrize(
    ("kind", "mode"), [(k, mode) for k, modes in HOLDS.items() for mode in modes]
)
def test_every_grey_level_stays_what_it_is(kind: str, mode: str, tmp_path: Path) -> None:
    """From a file of any mode to one channel, and from three channels back to one."""
    image = Image.fromarray(LEVELS).convert("L" if mode == "I;16" else mode)
    if mode == "I;16":
        image = Image.fromarray(LEVELS.astype(np.uint16) * 257)
    image.save(tmp_path / "a", kind, **({"lossless": True} if kind == "WEBP" else {}))
    expected = torch.from_numpy(LEVELS)
    one = Preprocessing(1, mean=(0.0,), std=(1.0,))
    three = Preprocessing(3)
    found = decoded(tmp_path / "a")
    assert torch.equal(one.apply(found)[0], expected)
    assert torch.equal(three.apply(found), expected.expand(3, -1, -1))
    assert torch.equal(one.apply(three.apply(found))[0], expected)
    unit = in_unit_range(three.apply(found))
    assert torch.equal((one.apply(unit)[0] * 255).round().byte(), expected)
    assert torch.equal(one.apply(unit)[0], unit[0]), "to the last bit, in float as well"


@pytest.mark.parametrize("interpolation", ["nearest", "nearest-exact", "bilinear", "bicubic"])
def test_every_grey_level_survives_resize_and_crop(interpolation: str) -> None:
    flat = torch.arange(256, dtype=torch.uint8).view(256, 1, 1, 1).expand(-1, 3, 9, 9)
    shown = Preprocessing(
        1, resize=20, crop=16, interpolation=interpolation, mean=(0.0,), std=(1.0,)
    ).apply(flat)
    assert torch.equal(shown, flat[:, :1, :1, :1].expand(-1, 1, 16, 16))


def test_luma_is_pillows_to_the_last_bit() -> None:
    values = torch.tensor([0, 1, 2, 31, 76, 127, 128, 200, 254, 255], dtype=torch.uint8)
    colours = torch.cartesian_prod(values, values, values)  # (1000, 3)
    expected = Image.fromarray(colours.view(10, 100, 3).numpy()).convert("L")
    assert torch.equal(converted(colours.T.reshape(3, 10, 100), 1), pil_to_tensor(expected))


def with_orientation(name: str, orientation: int, file: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95} if name == "JPEG" else {"lossless": True} if name == "WEBP" else {}
    COLOUR.save(file, name, exif=exif, **options)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_is_followed(kind: str, orientation: int, tmp_path: Path) -> None:
    file = tmp_path / "turned"
    with_orientation(kind, orientation, file)
    with Image.open(file) as image:
        expected = pil_to_tensor(ImageOps.exif_transpose(image))
        as_stored = pil_to_tensor(image)
    assert torch.equal(decoded(file), expected)
    assert examined(file).shape == tuple(expected.shape)
    if kind != "TIFF":  # which Pillow always turns
        assert torch.equal(decoded(file, turn=False), as_stored)
        assert examined(file).turned == (orientation != 1)
        assert examined(file, turn=False).shape == tuple(as_stored.shape)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_is_none_turns_nothing(orientation: int, tmp_path: Path) -> None:
    with_orientation("PNG", orientation, tmp_path / "a")
    assert decoded(tmp_path / "a").shape == (3, 9, 11)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_metadata_do_no_harm(tmp_path: Path) -> None:
    content = io.BytesIO()
    COLOUR.save(content, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    (tmp_path / "a.jpg").write_bytes(content.getvalue())
    assert decoded(tmp_path / "a.jpg").shape == (3, 9, 11)


SEVERAL = {"a.gif": {}, "a.webp": {"lossless": True}, "a.tif": {}, "a.png": {}}


@pytest.mark.parametrize("name", SEVERAL)
def test_the_first_of_several_frames(name: str, tmp_path: Path) -> None:
    first = GREY.convert("RGB")
    first.save(tmp_path / name, save_all=True, append_images=[COLOUR.copy()], **SEVERAL[name])
    assert torch.equal(decoded(tmp_path / name), pil_to_tensor(first))
    assert examined(tmp_path / name).frames


def test_transparency_shows_the_colour_below(tmp_path: Path) -> None:
    clear = COLOUR.copy()
    clear.putalpha(Image.fromarray(PIXELS[..., 1]))
    clear.save(tmp_path / "clear.png")
    assert torch.equal(decoded(tmp_path / "clear.png"), pil_to_tensor(COLOUR))
    assert examined(tmp_path / "clear.png").transparent
    COLOUR.convert("RGBA").save(tmp_path / "opaque.png")
    assert not examined(tmp_path / "opaque.png").transparent
    palette = COLOUR.convert("P")
    palette.save(tmp_path / "palette.png", transparency=palette.getpixel((0, 0)))
    assert examined(tmp_path / "palette.png").transparent


def bomb(width: int, height: int) -> bytes:
    """A PNG whose header states a size that its few bytes do not have."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def saved(image: Image.Image, kind: str, keep: int | None = None) -> bytes:
    content = io.BytesIO()
    image.save(content, kind)
    return content.getvalue()[:keep]


LARGE = Image.fromarray(RANDOM.randint(0, 256, (64, 64, 3), dtype=np.uint8))
BAD = {
    "empty.png": (b"", "empty"),
    "text.jpg": (b"<html>404</html>", "not an image that Pillow can read"),
    "cut.jpg": (saved(LARGE, "JPEG", 2000), "corrupt (image file is truncated"),
    "cut.png": (saved(LARGE, "PNG", 2000), "corrupt ("),
    "cut.gif": (saved(LARGE, "GIF", 2000), "corrupt ("),
    "cut.tif": (saved(LARGE, "TIFF", 2000), ""),
    "cut.webp": (saved(LARGE, "WEBP", 300), ""),
    "float.tif": (
        saved(Image.fromarray(np.zeros((4, 4), np.float32)), "TIFF"),
        "floating-point pixels have no stated range",
    ),
    "thirty-two.tif": (
        saved(Image.fromarray(np.full((4, 4), 70_000, np.int32)), "TIFF"),
        "32-bit pixels that may be signed have no stated range",
    ),
    "bomb.png": (bomb(15_000, 15_000), "Image size (225000000 pixels) exceeds limit"),
    "photo.heic": (b"\0\0\0\x18ftypheic" + bytes(100), "not an image that Pillow can read"),
}


def test_what_cannot_be_read_is_named_and_counted(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / "test" / name).mkdir(parents=True)
        LARGE.save(tmp_path / "test" / name / "good.png")
    for name, (content, _) in BAD.items():
        (tmp_path / "test" / "a" / name).write_bytes(content)
    os.mkfifo(tmp_path / "test" / "a" / "pipe.png")
    data = ImageFolder(tmp_path, on_corrupt="skip", resize=8)
    assert len(data.images("test")) == 2
    assert set(data.skipped) == {f"test/a/{name}" for name in (*BAD, "pipe.png")}
    for name, (content, reason) in {**BAD, "pipe.png": (b"", "not a regular file")}.items():
        for other in (*BAD, "pipe.png"):
            (tmp_path / "test" / "a" / other).unlink(missing_ok=True)
        if name == "pipe.png":
            os.mkfifo(tmp_path / "test" / "a" / name)
        else:
            (tmp_path / "test" / "a" / name).write_bytes(content)
        with pytest.raises(ValueError, match=r"^1 of 3 files read in ") as error:
            ImageFolder(tmp_path).setup("test")
        assert f"\n  test/a/{name}: {reason}" in str(error.value)


def test_no_permission_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand, as the tests may run for a user who may read everything."""
    for name in "ab":
        (tmp_path / "test" / name).mkdir(parents=True)
        LARGE.save(tmp_path / "test" / name / "0.png")

    def refuse(file: Path, mode: str = "r") -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Image, "open", refuse)
    with pytest.raises(ValueError, match=r"test/a/0.png: no permission to read it"):
        ImageFolder(tmp_path).setup("test")


def test_what_was_done_to_images_is_told(tmp_path: Path) -> None:
    (tmp_path / "test" / "b").mkdir(parents=True)
    (tmp_path / "test" / "a").mkdir(parents=True)
    folder = tmp_path / "test" / "a"
    LARGE.save(folder / "0.png")
    with_orientation("JPEG", 6, folder / "1.jpg")
    LARGE.save(folder / "2.gif", save_all=True, append_images=[COLOUR.copy()])
    Image.fromarray(SIXTEEN).save(tmp_path / "test" / "b" / "3.png")
    data = ImageFolder(tmp_path, resize=(8, 8))
    data.setup("test")
    assert data.notes == [
        "In `test`: 1 image(s) that torchvision's ImageFolder leaves out, used (.gif).",
        "test: 1 of 4 images are turned as their EXIF orientation says.",
        "test: 1 of 4 images are animated or of several pages, of which the first is shown.",
        "test: 1 of 4 images are of 16-bit grey, rounded to 8 bits.",
    ]
    assert data.manifest()["conversion"] == "grey repeated to RGB"
    assert ImageFolder(tmp_path, resize=(8, 8), channels=1).manifest()["conversion"] is not None
    as_stored = ImageFolder(tmp_path, resize=(8, 8), exif_orientation=False)
    as_stored.setup("test")
    assert not any("EXIF" in note for note in as_stored.notes)
    assert as_stored.manifest_digest() != data.manifest_digest()


def test_facts_of_an_ordinary_file(tmp_path: Path) -> None:
    COLOUR.save(tmp_path / "a.png")
    assert examined(tmp_path / "a.png") == ImageFacts((3, 9, 11), False, False, False, False)


def test_another_decoder_makes_another_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "ab":
        (tmp_path / "test" / name).mkdir(parents=True)
        LARGE.save(tmp_path / "test" / name / "0.png")
    keys = [ImageFolder(tmp_path).manifest_digest() for _ in range(2)]
    monkeypatch.setattr(image_datamodule, "DECODER", 999)
    keys.append(ImageFolder(tmp_path).manifest_digest())
    monkeypatch.setattr(PIL, "__version__", "0")
    keys.append(ImageFolder(tmp_path).manifest_digest())
    keys.append(ImageFolder(tmp_path, channels=1).manifest_digest())
    assert keys[0] == keys[1]
    assert len(set(keys)) == 4
