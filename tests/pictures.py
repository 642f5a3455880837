"""Pictures made by arithmetic, in every mode and format that a user may bring."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

ORIENTATION = 0x0112
#: EXIF orientation -> what a camera did to an upright picture before it stored it.
STORED: dict[int, Image.Transpose | None] = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@dataclass(frozen=True)
class Case:
    """One picture. Lossless: it decodes to the same pixels whichever encoder wrote it."""

    make: Callable[[], bytes | Image.Image | NDArray[np.uint8]]
    lossless: bool = True


def scene(width: int = 96, height: int = 64) -> NDArray[np.uint8]:
    """RGB pixels without any symmetry: ramps, a chequerboard and a disc, in integers only."""
    y, x = np.mgrid[:height, :width]
    pixels = np.stack(
        [
            x * 255 // (width - 1),
            y * 255 // (height - 1),
            40 + 160 * ((x * 12 // width + y * 8 // height) % 2),
        ],
        axis=-1,
    )
    disc = (4 * x - width) ** 2 + (4 * y - height) ** 2 < height**2
    pixels[disc] = (250, 210, 30)
    return pixels.astype(np.uint8)


def encode(image: Image.Image, form: str, **options: Any) -> bytes:
    """An image as a file's bytes."""
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def png(
    width: int,
    height: int,
    depth: int,
    colour: int,
    data: bytes,
    transparent: bytes | None = None,
) -> bytes:
    """A PNG by hand, for what pillow does not write. `data`: rows, each after a filter byte."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + crc

    parts = [
        b"\x89PNG\r\n\x1a\n",
        chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)),
        chunk(b"tRNS", transparent) if transparent is not None else b"",
        chunk(b"IDAT", zlib.compress(data)),
        chunk(b"IEND", b""),
    ]
    return b"".join(parts)


def rgb() -> Image.Image:
    """`scene` as an image."""
    return Image.fromarray(scene())


def grey() -> NDArray[np.uint8]:
    """The red ramp and disc alone, (H, W)."""
    return scene()[:, :, 0]


def alpha() -> Image.Image:
    """A ramp from transparent above to opaque below."""
    return Image.fromarray(scene()[:, :, 1])


def palette() -> Image.Image:
    """Mode P with a palette of eight colours."""
    image = Image.fromarray((grey() // 32).astype(np.uint8), "L").convert("L")
    result = Image.frombytes("P", image.size, image.tobytes())
    result.putpalette([c * 9 % 256 for i in range(8) for c in (i * 3, i * 17, 28 - i)])
    return result


def with_alpha(image: Image.Image) -> Image.Image:
    """A copy with `alpha` put in."""
    image = image.copy()
    image.putalpha(alpha())
    return image


def deep(big_endian: bool = False) -> NDArray[np.uint16]:
    """16-bit grey, (H, W), over the whole range."""
    return (grey().astype(np.uint32) * 257).astype(">u2" if big_endian else "<u2")


def deep_rgb_png() -> bytes:
    """16-bit RGB as PNG."""
    pixels = scene().astype(np.uint32) * 257
    rows = pixels.astype(">u2").reshape(len(pixels), -1)
    return png(96, 64, 16, 2, b"".join(b"\0" + row.tobytes() for row in rows))


def deep_transparent_png() -> bytes:
    """16-bit grey as PNG whose darkest value is transparent."""
    rows = deep(big_endian=True)
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    return png(96, 64, 16, 0, data, transparent=b"\0\0")


def animation(form: str, **options: Any) -> bytes:
    """Three frames, of which the first is upright."""
    first = palette() if form == "GIF" else rgb()
    rest = [first.transpose(Image.Transpose.ROTATE_180), Image.new(first.mode, first.size)]
    return encode(first, form, save_all=True, append_images=rest, duration=50, **options)


def oriented(number: int, form: str = "JPEG", **options: Any) -> bytes:
    """`scene` as a camera stores it that was held so, with the EXIF tag that says it."""
    image, method = rgb(), STORED[number]
    exif = Image.Exif()
    exif[ORIENTATION] = number
    if method is not None:
        image = image.transpose(method)
    return encode(image, form, exif=exif, **options)


def large() -> Image.Image:
    """1600 x 1200, beyond what a small model's input needs."""
    return Image.fromarray(scene(1600, 1200))


def _lab() -> Image.Image:
    return Image.merge("LAB", [Image.fromarray(scene()[:, :, i]) for i in range(3)])


def _floats(scale: float) -> Image.Image:
    pixels = grey().astype(np.float32) * np.float32(scale)
    pixels[0, 0] = np.nan
    return Image.fromarray(pixels)


CASES: dict[str, Case] = {
    "1": Case(lambda: encode(Image.fromarray(grey() > 99), "PNG")),
    "L": Case(lambda: encode(Image.fromarray(grey()), "PNG")),
    "LA": Case(lambda: encode(with_alpha(rgb().convert("L")), "PNG")),
    "P": Case(lambda: encode(palette(), "PNG")),
    "P with a transparent index": Case(lambda: encode(palette(), "PNG", transparency=3)),
    "P with an alpha table": Case(
        lambda: encode(palette(), "PNG", transparency=bytes(range(0, 240, 30)))
    ),
    "RGB": Case(lambda: encode(rgb(), "PNG")),
    "RGB with a transparent colour": Case(
        lambda: encode(rgb(), "PNG", transparency=(250, 210, 30))
    ),
    "RGBA": Case(lambda: encode(with_alpha(rgb()), "PNG")),
    "16-bit grey": Case(lambda: encode(Image.fromarray(deep()), "PNG")),
    "16-bit grey with a transparent value": Case(deep_transparent_png),
    "16-bit RGB": Case(deep_rgb_png),
    "I;16B": Case(lambda: Image.frombytes("I;16B", (96, 64), deep(big_endian=True).tobytes())),
    "I": Case(lambda: encode(Image.fromarray(deep().astype(np.int32)), "TIFF")),
    "F of 0..1": Case(lambda: encode(_floats(1 / 255), "TIFF")),
    "F of 0..255": Case(lambda: encode(_floats(1.0), "TIFF")),
    "YCbCr": Case(lambda: rgb().convert("YCbCr")),
    "HSV": Case(lambda: rgb().convert("HSV")),
    "LAB": Case(_lab, lossless=False),  # littlecms rounds as its build does
    "BMP": Case(lambda: encode(rgb(), "BMP")),
    "TIFF": Case(lambda: encode(rgb(), "TIFF", compression="tiff_deflate")),
    "PPM": Case(lambda: encode(rgb(), "PPM")),
    "GIF animation": Case(lambda: animation("GIF", transparency=7)),
    "APNG": Case(lambda: animation("PNG")),
    "WebP animation": Case(lambda: animation("WEBP", lossless=True)),
    "WebP": Case(lambda: encode(rgb(), "WEBP", quality=80), lossless=False),
    "JPEG": Case(lambda: encode(rgb(), "JPEG"), lossless=False),
    "JPEG grey": Case(lambda: encode(Image.fromarray(grey()), "JPEG"), lossless=False),
    "JPEG CMYK": Case(lambda: encode(rgb().convert("CMYK"), "JPEG"), lossless=False),
    "JPEG progressive": Case(lambda: encode(rgb(), "JPEG", progressive=True), lossless=False),
    "JPEG large": Case(lambda: encode(large(), "JPEG"), lossless=False),
    "JPEG large progressive": Case(
        lambda: encode(large(), "JPEG", progressive=True), lossless=False
    ),
    "array grey": Case(grey),
    "array RGB": Case(scene),
    "array RGBA": Case(lambda: np.dstack([scene(), np.asarray(alpha())])),
    **{
        f"PNG orientation {n}": Case(lambda n=n: oriented(n, "PNG"))  # type: ignore[misc]
        for n in STORED
    },
    **{
        f"JPEG orientation {n}": Case(lambda n=n: oriented(n), lossless=False)  # type: ignore[misc]
        for n in STORED
    },
}
