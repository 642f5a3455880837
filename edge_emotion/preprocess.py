"""A picture -> the uint8 tensor that a model is fed.

The only such code: training, calibration, prediction and benchmark all call it, so that each
makes the same pixels of the same picture. Of crops with surroundings, which
`edge_emotion.training.crops` makes, training, calibration and benchmark take the square within,
prediction the whole. They have been resized once more than the faces that prediction cuts: they are
a little softer.
Float scaling is inside the graphs.
"""

from __future__ import annotations

import io
import threading
import warnings
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageFile, ImageOps, UnidentifiedImageError

from edge_emotion.card import InputSpec
from edge_emotion.errors import PictureError, one_line

#: What counts as a picture: a path, an encoded file's bytes, a PIL image, or uint8 pixels of
#: shape (H, W), (H, W, 1), (H, W, 3) RGB or (H, W, 4) RGBA.
Picture: TypeAlias = str | Path | bytes | Image.Image | NDArray[np.uint8]

#: Larger pictures are refused before they are decoded (pillow's own limit, about 89 megapixels).
MAX_PIXELS = 1024 * 1024 * 1024 // 4 // 3
#: Larger files are refused before all of them is read: more than MAX_PIXELS take uncompressed.
MAX_BYTES = 4 * MAX_PIXELS

#: Endings of the formats that pillow reads; in a folder, other files are passed over.
PICTURE_SUFFIXES = frozenset(
    ".avif .bmp .dib .gif .ico .j2k .jfif .jp2 .jpe .jpeg .jpg .pbm .pgm .png .pnm .ppm .tga .tif "
    ".tiff .webp".split()
)

#: ITU-R BT.601 in pillow's 65536ths, so that no sum has more bits than a float32.
LUMA = np.array([19595, 38470, 7471], np.float32) / 65536

#: A side that shrinks by 6 or more is first averaged over whole pixels, to this many times its new
#: length or more, and only then filtered. Of the bilinear filter only, which hardly tells, and
#: is much faster so. The others would give other pixels than pillow's own.
REDUCING_GAP = 3.0

FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.HAMMING,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


class _NoWarnings:
    """Silences pillow, which warns of oddities (bombs, palettes, EXIF) handled here or harmless.

    Python's filters are the whole process's: of the threads that decode at one time the first puts
    them away, and the last puts them back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._saved = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._saved = warnings.catch_warnings()
                self._saved.__enter__()
                warnings.simplefilter("ignore")
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._saved.__exit__(None, None, None)


_NO_WARNINGS = _NoWarnings()


def open_picture(picture: Picture, at_least: tuple[int, int] | None = None) -> Image.Image:
    """Decode a picture to upright 8-bit RGB.

    EXIF orientation is applied, transparency is composited on white, 16-bit and float samples are
    scaled to 8 bits, and of an animation the first frame is taken. ICC profiles are ignored, as
    they are by the data sets that models are trained on.

    Args:
        picture: see `Picture`.
        at_least: (width, height) in pixels that the caller needs. A JPEG whose shorter side is
            four times the larger of the two or more is decoded at a fraction of its size (libjpeg's
            DCT scaling), which is much faster.

    Returns:
        An RGB image. With `at_least` it may be smaller than the original, never smaller than
        twice `at_least`.

    Raises:
        PictureError: not a picture, damaged, truncated, empty, or of more than MAX_PIXELS pixels.
    """
    return open_scaled(picture, at_least)[0]


def open_scaled(
    picture: Picture, at_least: tuple[int, int] | None
) -> tuple[Image.Image, tuple[int, int]]:
    """`open_picture`, and the (width, height) of the upright original in pixels."""
    if isinstance(picture, np.ndarray):
        image = _from_array(picture)
        return image, image.size
    if not isinstance(picture, (str, Path, bytes, Image.Image)):
        raise PictureError(
            "a picture is a path, bytes, a PIL image or a uint8 array, "
            f"not {type(picture).__name__}"
        )
    name = _name(picture)
    try:
        with _NO_WARNINGS:
            if isinstance(picture, Image.Image):
                upright = _upright_rgb(picture, name)
                return upright, upright.size
            data = picture if isinstance(picture, bytes) else _read_file(Path(picture), name)
            if not data:
                raise PictureError(f"{name}: the file is empty")
            with Image.open(io.BytesIO(data)) as image:
                if image.format == "EPS":  # pillow would run Ghostscript on it
                    raise PictureError(f"{name}: PostScript is a program, not a picture")
                _check_size(*image.size, name)
                width, height = image.size
                if at_least is not None and isinstance(image, ImageFile.ImageFile):
                    side = 2 * max(at_least)  # orientation may swap the sides
                    image.draft(image.mode, (side, side))
                decoded = image.size
                upright = _upright_rgb(image, name)
                turned = upright.size != decoded
                return upright, (height, width) if turned else (width, height)
    except PictureError:
        raise
    except UnidentifiedImageError as error:
        raise PictureError(f"{name}: not a picture in a format that pillow reads") from error
    except Image.DecompressionBombError as error:
        raise PictureError(
            f"{name}: too large: more than {MAX_PIXELS / 1e6:.0f} megapixels"
        ) from error
    except MemoryError as error:
        raise PictureError(f"{name}: too large for the memory that is left") from error
    except Exception as error:  # decoders of hostile bytes raise nearly anything
        reason = one_line(error) or type(error).__name__
        raise PictureError(f"{name}: damaged or truncated: {reason}") from error


def _name(picture: str | Path | bytes | Image.Image) -> str:
    """What to call a picture in an error: one line, whatever its path holds."""
    if isinstance(picture, bytes):
        return "bytes"
    if isinstance(picture, Image.Image):
        return "image"
    path = str(picture)
    return path if path and path.isprintable() else repr(path)


def _read_file(path: Path, name: str) -> bytes:
    """All of a file, which may be a pipe or a device without an end."""
    chunks = []
    size = 0
    try:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                chunks.append(chunk)
                size += len(chunk)
                if size > MAX_BYTES:
                    raise PictureError(f"{name}: larger than {MAX_BYTES / 1e6:.0f} MB")
    except (OSError, ValueError) as error:
        raise PictureError(f"{name}: {getattr(error, 'strerror', None) or error}") from error
    return b"".join(chunks)


def to_tensor(image: Image.Image, spec: InputSpec) -> NDArray[np.uint8]:
    """Fit an upright RGB image to a model's input.

    Args:
        image: RGB, from `open_picture` or cut from one.
        spec: the model's input.

    Returns:
        uint8 pixels of shape (height, width, channels), 0..255, C-contiguous.
    """
    if spec.channels == 1:
        image = image.convert("L")
    if image.size != (spec.width, spec.height):
        gap = REDUCING_GAP if spec.resize == "bilinear" else None
        image = image.resize((spec.width, spec.height), FILTERS[spec.resize], reducing_gap=gap)
    return np.array(image, dtype=np.uint8).reshape(spec.shape)  # not a view: writable


def preprocess(picture: Picture, spec: InputSpec) -> NDArray[np.uint8]:
    """`open_picture`, then `to_tensor`: the whole picture as one face.

    Returns:
        uint8 pixels of shape (height, width, channels), 0..255.

    Raises:
        PictureError: see `open_picture`.
    """
    if (
        isinstance(picture, np.ndarray)
        and picture.dtype == np.uint8
        and picture.shape == (spec.height, spec.width, 3)
    ):  # a face of the model's size: the same pixels, without pillow's copies
        same = _luma(picture) if spec.channels == 1 else np.array(picture, order="C")
        return same.reshape(spec.shape)
    return to_tensor(open_picture(picture, (spec.width, spec.height)), spec)


def _luma(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGB (H, W, 3) to grey (H, W), exactly as pillow's convert("L") rounds."""
    grey = pixels.astype(np.float32) @ LUMA + np.float32(0.5)
    return grey.astype(np.uint8)


def _check_size(width: int, height: int, name: str) -> None:
    if width * height > MAX_PIXELS:
        raise PictureError(
            f"{name}: too large: {width} x {height} is more than {MAX_PIXELS / 1e6:.0f} megapixels"
        )
    if width < 1 or height < 1:
        raise PictureError(f"{name}: a picture of {width} x {height} pixels has none")


def _from_array(pixels: NDArray[np.uint8]) -> Image.Image:
    if pixels.dtype != np.uint8:
        raise PictureError(f"an array picture holds uint8 values 0..255, not {pixels.dtype}")
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (3, 4)):
        raise PictureError(
            f"an array picture is (H, W), (H, W, 3) or (H, W, 4), not {pixels.shape}"
        )
    if 0 in pixels.shape:
        raise PictureError(f"an array of shape {pixels.shape} has no pixels")
    _check_size(pixels.shape[1], pixels.shape[0], "array")
    # As it lies: an array has no EXIF.
    return to_rgb(Image.fromarray(np.ascontiguousarray(pixels)))


def _upright_rgb(image: Image.Image, name: str) -> Image.Image:
    """First frame, EXIF orientation applied, 8-bit RGB. Decodes the pixels."""
    _check_size(*image.size, name)
    image.load()
    try:
        image = ImageOps.exif_transpose(image)
    except Exception:  # a broken EXIF block must not cost a readable picture
        image = image.copy()
    return to_rgb(image)


def to_rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB of an image as it lies: transparency on white, deep grey scaled."""
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        return _deep_grey(image).convert("RGB")
    if image.mode == "LAB":
        to_srgb = ImageCms.buildTransform(
            ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB"
        )
        converted = ImageCms.applyTransform(image, to_srgb)
        assert converted is not None  # only None when applied in place
        return converted
    if image.has_transparency_data:
        image = image.convert("LA" if image.mode == "La" else "RGBA").convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def _deep_grey(image: Image.Image) -> Image.Image:
    """16-bit, 32-bit and float grey to 8 bits.

    Integer samples are 0..65535, as pillow gives them for PNG, TIFF and PGM; float samples are
    0..1 if none exceeds 1, else 0..255.
    """
    samples = np.nan_to_num(np.asarray(image).astype(np.float64), posinf=0.0, neginf=0.0)
    if image.mode == "F":
        scale = 255.0 if samples.max() <= 1 else 1.0
    else:
        scale = 1 / 257
        transparent = image.info.get("transparency")
        if isinstance(transparent, int):
            samples[samples == transparent] = 65535  # white
    return Image.fromarray(np.clip(np.rint(samples * scale), 0, 255).astype(np.uint8))
