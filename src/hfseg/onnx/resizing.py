# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Resizing on NumPy and Pillow: images to a network's input, logits to any size in bands of rows."""

from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

__all__ = ["BandResizer", "axis_matrix", "resize_channels", "resize_image", "resize_maps"]

BAND_ELEMENTS = 1 << 20  # queries x rows x width of one band

Size = tuple[int, int]


def resize_image(image: Image.Image, size: Size, resample: int) -> Image.Image:
    """Resizes an RGB image to (height, width) with Pillow, as image processors do."""
    height, width = size
    if image.size == (width, height):
        return image
    return image.resize((width, height), Image.Resampling(resample))


def resize_channels(channels: np.ndarray, size: Size, resample: int = Image.Resampling.BILINEAR) -> np.ndarray:
    """Resizes float channels, anti-aliased where an axis shrinks.

    Shape:
        channels: (C, H, W), float32 -> (C, *size).
    """
    if channels.shape[1:] == tuple(size):
        return channels
    wide, method = (size[1], size[0]), Image.Resampling(resample)
    resized = [Image.fromarray(np.ascontiguousarray(one, np.float32)).resize(wide, method) for one in channels]
    return np.stack([np.asarray(one) for one in resized])


def _taps(source: int, target: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lower index, upper index and weight of the upper one, in float32 like `torch.nn.functional.interpolate`."""
    scale = np.float32(source / target)
    position = np.maximum(scale * (np.arange(target, dtype=np.float32) + np.float32(0.5)) - np.float32(0.5), 0)
    lower = np.minimum(position.astype(np.int64), source - 1)
    return lower, np.minimum(lower + 1, source - 1), (position - lower).astype(np.float32)


def _taps_of_part(size: int, padded: int, inside: int, output: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same for an output that shows the first `inside` of the `padded` pixels to which the logits belong.

    Places beyond the center of the last of these pixels are those of its center.
    """
    if inside == padded:
        return _taps(size, output)
    pixel = np.clip((np.arange(output) + 0.5) * (inside / output) - 0.5, 0, inside - 1)
    position = np.maximum((pixel + 0.5) * (size / padded) - 0.5, 0)
    lower = np.minimum(position.astype(np.int64), size - 1)
    return lower, np.minimum(lower + 1, size - 1), (position - lower).astype(np.float32)


def _bilinear(source: int, target: int) -> np.ndarray:
    """A bilinear resize of one axis as a matrix (target, source)."""
    return _matrix(source, *_taps(source, target))


def _matrix(source: int, lower: np.ndarray, upper: np.ndarray, weight: np.ndarray) -> np.ndarray:
    target = len(lower)
    matrix = np.zeros((target, source), dtype=np.float32)
    rows = np.arange(target)
    np.add.at(matrix, (rows, lower), 1 - weight)
    np.add.at(matrix, (rows, upper), weight)
    return matrix


def axis_matrix(size: int, padded: int, inside: int, output: int, canvas: int | None = None) -> np.ndarray:
    """From logits to the padded input, of it the image, of that the output: one matrix (output, size) per axis.

    Args:
        size: Of the logits.
        padded: Of the network's input.
        inside: Of the image in it, at its beginning.
        output: Of the result.
        canvas: To which the image is resized before its first part is taken; default: the output.
    """
    down = _bilinear(inside, canvas or output)[:output]
    return down @ _bilinear(size, padded)[:inside]


class BandResizer:
    """Brings mask logits to output size, a band of rows at a time.

    Args:
        logits: Of N masks.
        padded: Size of the network's input.
        inside: Size of the image in it.
        output: Size of the result.
        canvas: See `axis_matrix`.

    Shape:
        logits: (N, h, w).
    """

    def __init__(
        self, logits: np.ndarray, padded: Size, inside: Size, output: Size, canvas: Size | None = None
    ) -> None:
        wide = canvas or (None, None)
        self.rows = axis_matrix(logits.shape[1], padded[0], inside[0], output[0], wide[0])
        columns = axis_matrix(logits.shape[2], padded[1], inside[1], output[1], wide[1])
        self.wide = logits.astype(np.float32) @ columns.T  # (N, h, W)
        self.output = output
        self.step = max(1, min(output[0], BAND_ELEMENTS // max(1, len(logits) * output[1])))

    def bands(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Yields rows and their logits (N, rows, W)."""
        for start in range(0, self.output[0], self.step):
            rows = slice(start, min(start + self.step, self.output[0]))
            yield rows, np.matmul(self.rows[rows], self.wide)


def resize_maps(maps: np.ndarray, padded: Size, inside: Size, output: Size) -> np.ndarray:
    """Resizes maps of classes to the output in one step, the part of the padded input that is the image.

    Shape:
        maps: (K, h, w) -> (K, *output), float32.
    """
    rows, columns = (
        _matrix(size, *_taps_of_part(size, whole, part, out))
        for size, out, part, whole in zip(maps.shape[1:], output, inside, padded)
    )
    return np.matmul(rows, maps.astype(np.float32) @ columns.T)


def cubic_to(maps: np.ndarray, size: Size) -> np.ndarray:
    """Enlarges maps bicubically with aligned corners, as `interpolate(mode="bicubic", align_corners=True)`.

    Shape:
        maps: (N, h, w) -> (N, *size), float32.
    """

    def matrix(source: int, target: int) -> np.ndarray:
        scale = np.float32((source - 1) / (target - 1)) if target > 1 else np.float32(0)
        position = np.arange(target, dtype=np.float32) * scale
        base = np.floor(position).astype(np.int64)
        t = (position - base).astype(np.float32)
        weights = _cubic_weights(t)
        result = np.zeros((target, source), dtype=np.float32)
        for offset, weight in zip(range(-1, 3), weights):
            np.add.at(result, (np.arange(target), np.clip(base + offset, 0, source - 1)), weight)
        return result

    rows, columns = matrix(maps.shape[1], size[0]), matrix(maps.shape[2], size[1])
    return np.matmul(rows, maps.astype(np.float32) @ columns.T)


def _cubic_weights(t: np.ndarray, a: float = -0.75) -> Sequence[np.ndarray]:
    def near(x: np.ndarray) -> np.ndarray:
        return ((a + 2) * x - (a + 3)) * x * x + 1

    def far(x: np.ndarray) -> np.ndarray:
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a

    return [w.astype(np.float32) for w in (far(t + 1), near(t), near(1 - t), far(2 - t))]
