# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Safe loading of local image files and lossless-as-possible conversion of every common mode to 8-bit RGB."""

import importlib.util
import io
import os
import struct
import warnings
import zlib
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

__all__ = [
    "DEFAULT_MAX_PIXELS",
    "FORMATS",
    "check_exact",
    "check_finite",
    "convert_to_rgb",
    "load_image",
    "open_image",
    "sixteen_bit_to_eight",
    "stretch_contrast",
]

# Pillow's own limit (a quarter of a gigabyte of RGB), at which Pillow only warns.
DEFAULT_MAX_PIXELS = 89_478_485

# What is decoded, whatever a file is called. Not among them: formats that start other programs (EPS runs Ghostscript),
# or whose files cannot be told from noise.
FORMATS: tuple[str, ...] = (
    "PNG",
    "JPEG",
    "WEBP",
    "BMP",
    "DIB",
    "TIFF",
    "GIF",
    "PPM",
    "JPEG2000",
)  # MPO is opened as JPEG
FORMATS += ("AVIF",) if importlib.util.find_spec("PIL.AvifImagePlugin") else ()

# What Pillow's decoders raise for damaged content.
_DAMAGE = (OSError, SyntaxError, EOFError, ValueError, IndexError, struct.error, zlib.error)

_LOSSY = ("JPEG", "MPO", "AVIF", "JPEG2000")
_LOSSY_IN_TIFF = ("jpeg", "tiff_jpeg", "webp")

_SIXTEEN_BIT_MODES = ("I", "I;16", "I;16L", "I;16B", "I;16N")


def load_image(image: "str | os.PathLike[str] | Image.Image", max_pixels: int = DEFAULT_MAX_PIXELS) -> Image.Image:
    """Loads a local image file (or takes a PIL image) as an upright 8-bit RGB image.

    The whole file is decoded, so that a truncated one is an error here and not later. The EXIF orientation is applied.
    Modes are converted as `convert_to_rgb` describes. Of animations and multi-page files the first frame is taken.

    Args:
        image: path of a local file, or a PIL image.
        max_pixels: largest allowed number of pixels; read from the header, before anything is decoded.

    Raises:
        FileNotFoundError: if the path names no file.
        ValueError: for a URL, an undecodable or truncated file, and an image with more than `max_pixels` pixels.
        TypeError: if `image` is neither a path nor a PIL image.
    """
    if isinstance(image, Image.Image):
        name, image = "the given PIL image", _decode(image, "the given PIL image", max_pixels)
    else:
        name, image = repr(image), open_image(image, max_pixels)
    try:
        upright = ImageOps.exif_transpose(image)
    except _DAMAGE as error:
        raise ValueError(f"Image {name} has damaged EXIF data: {error}.") from error
    return convert_to_rgb(upright)


def open_image(
    path: "str | os.PathLike[str] | bytes",
    max_pixels: int = DEFAULT_MAX_PIXELS,
    exact: bool = False,
    name: str | None = None,
) -> Image.Image:
    """Opens a local image file and decodes it whole, as it is stored: no rotation, no conversion.

    Args:
        path: path of a local file, or the content of one.
        max_pixels: largest allowed number of pixels; read from the header, before anything is decoded.
        exact: whether the pixels are numbers that must come out as they were put in, as those of labels; see
            `check_exact`.
        name: of content, for messages; of a file it is its path.

    Raises:
        FileNotFoundError, ValueError, TypeError: as `load_image`; with `exact` also as `check_exact`.
    """
    shown = repr(name or "content")
    source: Any = path
    if isinstance(path, bytes):
        source = io.BytesIO(path)
    elif not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"An image must be a path or a PIL image, got {type(path).__name__}.")
    else:
        source = os.fspath(path)
        shown = repr(source)
        _check_is_file(source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # an error below
            opened = Image.open(source, formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise ValueError(_too_large(shown, None, max_pixels)) from error
    except UnidentifiedImageError as error:
        raise ValueError(f"{shown} is not an image in a format that is read ({', '.join(FORMATS)}).") from error
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the file system's own complaint (permissions)
        raise ValueError(f"Image {shown} is truncated or damaged: {error}.") from error
    with opened:
        if exact:
            check_exact(opened, shown.strip("'"))
        return _decode(opened, shown, max_pixels)


def _check_is_file(path: Any) -> None:
    if isinstance(path, str) and ("://" in path or path.startswith("data:")):
        raise ValueError(
            f"Only local files are opened, got the URL {path[:100]!r}. Download it first and pass the path."
        )
    if not os.path.isfile(path):
        raise FileNotFoundError(f"There is no image file {path!r}: check the path, or the name in an annotation file.")


def check_exact(image: Image.Image, name: str) -> None:
    """Refuses files whose pixels do not come out as the numbers that were put in.

    That is lossy compression (JPEG, also inside TIFF, WebP unless it says it is lossless, AVIF, JPEG 2000), color of
    more than 8 bits, which Pillow cuts, and several pages or frames, of which one would be taken.

    Args:
        image: as `PIL.Image.open` gives it.
        name: of the file, for the message.

    Raises:
        ValueError: for these, with the remedy.
    """
    kind = image.format or ""
    if kind == "TIFF" and image.info.get("compression") in _LOSSY_IN_TIFF:
        kind = f"TIFF with {image.info['compression']} compression"
    if kind in _LOSSY or kind.startswith("TIFF with") or (kind == "WEBP" and not _is_lossless_webp(image)):
        kind = {"MPO": "JPEG", "WEBP": "lossy WebP"}.get(kind, kind)
        raise ValueError(
            f"{name} is a label stored as {kind}, which is lossy: its values are not those that were drawn. Export the "
            "label again, as PNG (saving this file as PNG does not bring the values back)."
        )
    if _bits(image) > 8 and len(image.getbands()) > 1:
        raise ValueError(
            f"{name} is a label of {_bits(image)} bits in {len(image.getbands())} channels, of which 8 bits would be "
            "read; save it as a gray PNG of 8 or 16 bits."
        )
    try:
        frames = int(getattr(image, "n_frames", 1))
    except (*_DAMAGE, AttributeError):  # of a file that is closed, or damaged: said when it is decoded
        frames = 1
    if frames > 1:
        raise ValueError(
            f"{name} is a label of {frames} pages or frames; it must be one image. Save the page that belongs to the "
            "image as PNG."
        )


def _is_lossless_webp(image: Image.Image) -> bool:
    """Whether a WebP says so in the chunks of its file."""
    file = getattr(image, "fp", None)
    if file is None:
        return False
    place = file.tell()
    try:
        file.seek(12)
        while len(head := file.read(8)) == 8:
            if head[:4] in (b"VP8L", b"VP8 "):
                return head[:4] == b"VP8L"
            length = struct.unpack("<I", head[4:])[0]
            file.seek(length + length % 2, os.SEEK_CUR)
        return False
    finally:
        file.seek(place)


def _bits(image: Image.Image) -> int:
    """Bits of a channel in the file of a PNG or TIFF; 8 of others."""
    if image.format == "TIFF":
        return max(image.tag_v2.get(258, (8,)))  # type: ignore[attr-defined]
    if image.format == "PNG":
        tiles = getattr(image, "tile", ())
        raw = next((tile[3] for tile in tiles if isinstance(tile[3], str)), "")
        return 16 if ";16" in raw else 8
    return 8


def _too_large(name: str, size: tuple[int, int] | None, max_pixels: int) -> str:
    described = f" of {size[0]} x {size[1]} pixels" if size else ""
    return (
        f"Image {name}{described} is larger than the limit of {max_pixels} pixels. If the source is trusted, raise "
        "`max_pixels` (beyond twice Pillow's own limit also `PIL.Image.MAX_IMAGE_PIXELS`) or scale the file down."
    )


def _decode(image: Image.Image, name: str, max_pixels: int) -> Image.Image:
    if image.width * image.height > max_pixels:
        raise ValueError(_too_large(name, image.size, max_pixels))
    if min(image.size) < 1:
        raise ValueError(f"Image {name} has no pixels: its size is {image.width} x {image.height}.")
    try:
        image.load()
    except (*_DAMAGE, Image.DecompressionBombError) as error:
        raise ValueError(f"Image {name} is truncated or damaged: {error}.") from error
    return image


def convert_to_rgb(image: Image.Image) -> Image.Image:
    """Converts a PIL image of any mode to 8-bit RGB.

    - Transparency (RGBA, LA, PA, palette or color key) is composed onto white, as transformers does.
    - 16-bit gray is divided by 257, so that 0..65535 covers 0..255 (Pillow itself would clip at 255). Mode "I" (32-bit)
      must hold 16-bit values.
    - 1-bit, gray, palette, CMYK, YCbCr, LAB and HSV go through Pillow's conversion.

    Raises:
        ValueError: for float images (mode "F") and integers outside 0..65535, whose value range is unknown.
    """
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode in _SIXTEEN_BIT_MODES:
        values = np.asarray(image)
        if values.size and (values.min() < 0 or values.max() > 65535):
            raise ValueError(
                f"Integer image with values in [{values.min()}, {values.max()}] are not 16-bit; scale it to 0..65535."
            )
        return Image.fromarray(sixteen_bit_to_eight(values)).convert("RGB")
    if image.mode == "F":
        raise ValueError("A float image (mode 'F') has no known value range; scale it to 8 bits first.")
    if "A" in image.getbands() or "a" in image.getbands() or image.info.get("transparency") is not None:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image).convert("RGB")
    return image.convert("RGB")


def sixteen_bit_to_eight(values: np.ndarray) -> np.ndarray:
    """Rounds 16-bit values to 8 bits by value range (65535 / 257 = 255)."""
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def stretch_contrast(image: np.ndarray, low: float = 0.1, high: float = 99.9) -> np.ndarray:
    """Brings an image to the full range of intensities: two percentiles of all its values become 0 and 255.

    One linear map for all channels, so that colors stay. An image without contrast stays as it is.

    Shape:
        image: any, such as (H, W, 3), uint8. Returns the same.
    """
    floor, ceiling = np.percentile(image, (low, high))
    if ceiling - floor < 1:
        return image
    return np.clip((image.astype(np.float32) - floor) * (255 / (ceiling - floor)) + 0.5, 0, 255).astype(np.uint8)


def check_rescaled_values(image: Any, rescale_factor: float) -> None:
    """Checks that an image that is going to be multiplied by `rescale_factor` has the values that are scaled by it.

    With 1 / 255 these are 0 to 255. An image that was scaled to 0 to 1 before would become black, one of 12 or 16 bits
    far too bright; both would get an answer.

    Args:
        image: Array or tensor of any shape; 8-bit integers cost nothing.
        rescale_factor: What values are multiplied by.

    Raises:
        ValueError: Values below 0 or above `1 / rescale_factor`, or fractions none of which is above 1.
    """
    if str(image.dtype).endswith("uint8") or rescale_factor <= 0:  # of numpy or torch, which is not imported here
        return
    low, high, largest = float(image.min()), float(image.max()), round(1 / rescale_factor, 3)
    if low < 0 or high > largest * (1 + 1e-6):
        raise ValueError(
            f"Image of shape {tuple(image.shape)} has values from {low:g} to {high:g}; they must be between 0 and "
            f"{largest:g}. Scale them, or give do_rescale=False where they are scaled already."
        )
    floating = np.issubdtype(image.dtype, np.floating) if isinstance(image, np.ndarray) else image.is_floating_point()
    if floating and largest > 1 and high <= 1 and bool(((image > 0) & (image < 1)).any()):
        raise ValueError(
            f"Image of shape {tuple(image.shape)} has values from {low:g} to {high:g}, as if it were scaled already, "
            f"and would become black when multiplied by {rescale_factor:g}: give do_rescale=False, or values up to "
            f"{largest:g}."
        )


def check_finite(image: Any) -> None:
    """Raises ValueError if a float array or tensor holds NaN or infinity (integers cost nothing)."""
    is_array = isinstance(image, np.ndarray)
    if is_array and not np.issubdtype(image.dtype, np.floating):
        return
    if not is_array and not image.is_floating_point():
        return
    # A sum is one cheap pass: finite unless an element is not (or the sum overflows, which the exact check settles).
    with np.errstate(all="ignore"):
        total = float(image.sum())
    if total - total == 0:
        return
    finite = np.isfinite(image) if is_array else image.isfinite()
    if not bool(finite.all()):
        raise ValueError(
            f"Image of shape {tuple(image.shape)} holds {int((~finite).sum())} NaN or infinite values; "
            "replace them before processing."
        )
