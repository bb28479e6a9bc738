# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The authors' letterbox: scale to fit, center, fill the rest, as an affine warp between pixel indices; and back.

Unlike a resize, the warp has no half-pixel shift: corner (0, 0) of the image goes to corner (0, 0) of its place. A
warp without rotation acts on rows and columns apart, so it is a gather of a few rows, then of a few columns, with
weights. One implementation serves NumPy arrays and tensors. It computes sub-pixel positions exactly, as OpenCV 5 does
(OpenCV 4 rounds them to 1/32 pixel).
"""

from typing import Any

import numpy as np

# Keys' cubic kernel with OpenCV's parameter.
CUBIC = -0.75


def letterbox(source: tuple[int, int], target: tuple[int, int]) -> tuple[float, float, float]:
    """Computes scale and offsets that fit an image into a frame, centered.

    Args:
        source: Height and width of the image.
        target: Height and width of the frame.

    Returns:
        Scale s and offsets (y, x) in target pixels: source index i lands on s i + offset.
    """
    scale = min(target[0] / source[0], target[1] / source[1])
    return scale, (target[0] - source[0] * scale) / 2, (target[1] - source[1] * scale) / 2


def taps(size: int, positions: np.ndarray, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Finds which source pixels each position reads, and with which weights; outside the image there is zero.

    Args:
        size: Source pixels along the axis.
        positions: Where to read, in source indices.
        kind: `"cubic"` (four taps) or `"linear"` (two).

    Shape:
        positions: `(N,)`; output: `(taps, N)` int64 and float64.
    """
    base = np.floor(positions)
    reach = np.arange(-1, 3) if kind == "cubic" else np.arange(2)
    index = base + reach[:, None]  # (taps, N)
    distance = np.abs(positions - index)
    if kind == "cubic":
        near = ((CUBIC + 2) * distance - (CUBIC + 3)) * distance**2 + 1
        far = ((CUBIC * distance - 5 * CUBIC) * distance + 8 * CUBIC) * distance - 4 * CUBIC
        weight = np.where(distance <= 1, near, far)
    else:
        weight = 1 - distance
    inside = (index >= 0) & (index < size)
    return np.clip(index, 0, size - 1).astype(np.int64), weight * inside


def read_axis(image: Any, positions: np.ndarray, kind: str, axis: int) -> Any:
    """Interpolates along rows (axis -2) or columns (axis -1)."""
    index, weight = taps(image.shape[axis], positions, kind)
    shape = (-1, 1) if axis == -2 else (-1,)
    total = None
    for row, factor in zip(index, weight):
        if not isinstance(image, np.ndarray):
            import torch

            read = image.index_select(axis, torch.from_numpy(row).to(image.device))
            read = read * torch.from_numpy(factor).to(image).reshape(shape)
        else:
            read = np.take(image, row, axis=axis) * factor.astype(image.dtype).reshape(shape)
        total = read if total is None else total + read
    return total


def warp(image: Any, scale: float, offsets: tuple[float, float], size: tuple[int, int], kind: str) -> Any:
    """Reads an image at `(target index - offset) / scale`, zero outside.

    Args:
        image: Float array or tensor, channels first.
        scale: Target pixels per source pixel.
        offsets: Place (y, x) of source index (0, 0) in the target.
        size: Height and width of the result.
        kind: `"cubic"` or `"linear"`.

    Shape:
        image: `(..., h, w)`; output: `(..., *size)`.
    """
    for axis, offset, count in ((-2, offsets[0], size[0]), (-1, offsets[1], size[1])):
        image = read_axis(image, (np.arange(count) - offset) / scale, kind, axis)
    return image


def to_frame(image: Any, frame: tuple[int, int], fill: Any, kind: str = "cubic") -> Any:
    """Letterboxes an image.

    Integer images come back rounded and clipped to their range, as in OpenCV; floats as they are.

    Args:
        image: Array or tensor, channels first.
        frame: Height and width.
        fill: Value around the image, one per channel.
        kind: `"cubic"` for images, `"linear"` for masks.

    Shape:
        image: `(..., C, h, w)`; output: `(..., C, *frame)`, float32.
    """
    tensor = not isinstance(image, np.ndarray)
    integer = not image.is_floating_point() if tensor else not np.issubdtype(image.dtype, np.floating)
    image = image.float() if tensor else image.astype(np.float32)
    gray = np.asarray(fill, dtype=np.float32).reshape(-1, 1, 1)
    level: Any = gray
    if tensor:
        import torch  # here, so that arrays need none

        level = torch.from_numpy(gray).to(image.device)
    scale, y, x = letterbox((image.shape[-2], image.shape[-1]), frame)
    warped = warp(image - level, scale, (y, x), frame, kind) + level
    if not integer:
        return warped
    return warped.round().clamp(0, 255) if tensor else np.clip(np.round(warped), 0, 255)


def from_frame(image: Any, size: tuple[int, int], kind: str = "cubic") -> Any:
    """Brings a map of the frame back to an image's size: the inverse of `to_frame`, zero outside the frame.

    Shape:
        image: `(..., *frame)` float; output: `(..., *size)`.
    """
    scale, y, x = letterbox(size, (image.shape[-2], image.shape[-1]))
    return warp(image, 1 / scale, (-y / scale, -x / scale), size, kind)
