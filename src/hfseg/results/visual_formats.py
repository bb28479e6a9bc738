# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""How the answers of dense tasks look as RGB images, and how to read them back.

A model that maps images to images gives depth, masks or boxes as images. The authors of LaVin-DiT documented none
of their images; these are our conventions. Every format has an encoder and a decoder:

| format | what it holds | as an image |
|---|---|---|
| image | an image | itself |
| depth | depth, nearer is smaller, any unit | gray; the clip's smallest is black, its largest white |
| normal | unit normals, x right, y down, z toward the viewer | rgb = (n + 1) / 2 |
| segmentation | ids of segments, 0 none | colors of `palette()`: id 0 black; segments by falling area |
| mask | one region | white on black |
| detection | one box (x, y, width, height) | filled white on black |
| pose | 17 keypoints of COCO, (x, y, visible) | a disc of its own color each, gray limbs |
| edge | edges | white on black |
| flow | motion in pixels per frame, (x, y) | hue is the direction, brightness the length over `MAXIMUM_FLOW` |

Images are (H, W, 3) uint8, clips (T, H, W, 3). Decoders take the nearest legal color, so they read noisy images.
Depth is decoded relative: 0 nearest, 1 farthest. Its scale is gone, as for every affine-invariant estimator.
"""

import colorsys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

__all__ = ["FORMATS", "MAXIMUM_FLOW", "VisualFormat", "find_format", "largest_component", "palette"]

MAXIMUM_FLOW = 0.125
"""Length of the longest flow that can be shown, as a share of the image's shorter side."""

# COCO's skeleton, pairs of keypoints from 0.
LIMBS = (
    (15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8), (7, 9), (8, 10), (1, 2),
    (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6),
)  # fmt: skip
NUM_KEYPOINTS = 17


@dataclass(frozen=True)
class VisualFormat:
    """One way to write truth as an image.

    Attributes:
        name: Key in `FORMATS`.
        encode: Truth to image(s), uint8.
        decode: Image(s), uint8, to truth.
    """

    name: str
    encode: Callable[[Any], np.ndarray]
    decode: Callable[[np.ndarray], Any]


def palette(count: int = 63) -> np.ndarray:
    """Colors that are as far apart as possible: black, then by turns the farthest of a lattice of four levels.

    Shape:
        (count + 1, 3), uint8; count at most 63.

    >>> palette(3).tolist()
    [[0, 0, 0], [255, 255, 255], [0, 85, 255], [85, 255, 0]]
    """
    if not 0 <= count <= 63:
        raise ValueError(f"{count} colors: between 0 and 63 can be told apart.")
    levels = (0, 85, 170, 255)
    lattice = np.array([(r, g, b) for r in levels for g in levels for b in levels], dtype=np.int64)
    chosen = [0]
    distance = ((lattice - lattice[0]) ** 2).sum(1)
    for _ in range(count):
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, ((lattice - lattice[chosen[-1]]) ** 2).sum(1))
    return lattice[chosen].astype(np.uint8)


def nearest_color(image: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """Finds the nearest of some colors for every pixel.

    Shape:
        image: (..., 3), colors: (K, 3) -> (...,), int64.
    """
    pixels = image.reshape(-1, 3).astype(np.float32)
    colors = colors.astype(np.float32)
    # |p - c|^2 up to the pixel's own term.
    scores = (colors**2).sum(1) - 2 * pixels @ colors.T
    return scores.argmin(1).reshape(image.shape[:-1])


def _gray(values: np.ndarray) -> np.ndarray:
    """Writes values in [0, 1] as gray images."""
    levels = np.clip(np.rint(values * 255), 0, 255).astype(np.uint8)
    return np.repeat(levels[..., None], 3, axis=-1)


def _encode_image(image: Any) -> np.ndarray:
    return np.asarray(image, dtype=np.uint8)


def _encode_depth(depth: np.ndarray) -> np.ndarray:
    depth = np.asarray(depth, dtype=np.float64)
    if not np.isfinite(depth).all():
        raise ValueError("Depth holds NaN or infinite values; replace them (sky: by the largest depth).")
    low, high = depth.min(), depth.max()
    return _gray((depth - low) / max(high - low, 1e-12))


def _decode_depth(image: np.ndarray) -> np.ndarray:
    return (image.astype(np.float32).mean(-1) / 255).astype(np.float32)


def _encode_normal(normals: np.ndarray) -> np.ndarray:
    return np.clip(np.rint((np.asarray(normals, dtype=np.float64) + 1) * 127.5), 0, 255).astype(np.uint8)


def _decode_normal(image: np.ndarray) -> np.ndarray:
    vectors = image.astype(np.float32) / 127.5 - 1
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    facing = np.array([0, 0, 1], dtype=np.float32)
    # Gray points nowhere.
    return np.where(length > 0.1, vectors / np.maximum(length, 0.1), facing)


def _encode_segmentation(segments: np.ndarray) -> np.ndarray:
    segments = np.asarray(segments)
    ids, positions, areas = np.unique(segments, return_inverse=True, return_counts=True)
    order = sorted(range(len(ids)), key=lambda index: (-int(areas[index]), int(ids[index])))
    ranks = np.zeros(len(ids), dtype=np.int64)
    rank = 0
    for index in order:
        if ids[index] != 0:
            rank += 1
            ranks[index] = min(rank, 63)  # smaller ones than the 63rd share its color
    return palette()[ranks[positions.reshape(segments.shape)]]


def _decode_segmentation(image: np.ndarray) -> np.ndarray:
    return nearest_color(image, palette())


def _encode_mask(mask: np.ndarray) -> np.ndarray:
    return _gray(np.asarray(mask, dtype=bool).astype(np.float32))


def _decode_mask(image: np.ndarray) -> np.ndarray:
    # Nearest of black and white.
    return image.astype(np.int64).sum(-1) > 3 * 127.5


Box = tuple[int, int, int, int]


def largest_component(mask: np.ndarray) -> tuple[int, int, int, int] | None:
    """Finds the box (x, y, width, height) of a mask's largest connected region (8 neighbors); None if it is empty."""
    labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
    if count == 0:
        return None
    largest = int(np.bincount(labels.ravel())[1:].argmax()) + 1
    rows, columns = ndimage.find_objects((labels == largest).astype(np.int8))[0]
    return columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start


def _encode_detection(value: tuple[tuple[float, float, float, float], tuple[int, int]]) -> np.ndarray:
    (x, y, box_width, box_height), (height, width) = value
    mask = np.zeros((height, width), dtype=bool)
    mask[max(round(y), 0) : max(round(y + box_height), 0), max(round(x), 0) : max(round(x + box_width), 0)] = True
    return _encode_mask(mask)


def _decode_detection(image: np.ndarray) -> Box | list[Box | None] | None:
    if image.ndim == 4:
        return [largest_component(_decode_mask(frame)) for frame in image]
    return largest_component(_decode_mask(image))


def keypoint_colors() -> np.ndarray:
    """Colors of the keypoints: bright hues, every second a little darker.

    Shape:
        (17, 3), uint8.
    """
    hues = [colorsys.hsv_to_rgb(index / NUM_KEYPOINTS, 1.0, 1.0 if index % 2 else 0.75) for index in range(17)]
    return np.rint(np.array(hues) * 255).astype(np.uint8)


def _encode_pose(value: tuple[np.ndarray, tuple[int, int]]) -> np.ndarray:
    from PIL import Image, ImageDraw

    keypoints, (height, width) = value
    keypoints = np.asarray(keypoints, dtype=np.float64).reshape(-1, NUM_KEYPOINTS, 3)
    radius = max(1.5, min(height, width) / 60)
    image = Image.new("RGB", (width, height))
    draw = ImageDraw.Draw(image)
    colors = keypoint_colors()
    for person in keypoints:
        for first, second in LIMBS:
            if person[first, 2] > 0 and person[second, 2] > 0:
                ends = [tuple(person[first, :2]), tuple(person[second, :2])]
                draw.line(ends, fill=(96, 96, 96), width=max(1, round(radius / 2)))
    for person in keypoints:
        for index in np.flatnonzero(person[:, 2] > 0):
            x, y = person[index, :2]
            draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=tuple(colors[index].tolist()))
    return np.asarray(image)


def _decode_pose(image: np.ndarray) -> np.ndarray:
    """Reads one person: of every keypoint the center of its largest disc; invisible where there is none."""
    colors = np.concatenate([[[0, 0, 0], [96, 96, 96]], keypoint_colors()])
    nearest = nearest_color(image, colors)
    keypoints = np.zeros((NUM_KEYPOINTS, 3), dtype=np.float32)
    for index in range(NUM_KEYPOINTS):
        labels, count = ndimage.label(nearest == index + 2)
        if count:
            largest = int(np.bincount(labels.ravel())[1:].argmax()) + 1
            y, x = ndimage.center_of_mass(labels == largest)
            keypoints[index] = (x, y, 1)
    return keypoints


def _encode_flow(flow: np.ndarray) -> np.ndarray:
    flow = np.asarray(flow, dtype=np.float64)
    limit = MAXIMUM_FLOW * min(flow.shape[-3:-1])
    value = np.minimum(np.hypot(flow[..., 0], flow[..., 1]) / limit, 1)
    hue = (np.arctan2(flow[..., 1], flow[..., 0]) / (2 * np.pi)) % 1 * 6
    # Saturated colors: channel = value * clip(|(hue + offset) mod 6 - 3| - 1, 0, 1).
    ramps = [np.clip(np.abs((hue + offset) % 6 - 3) - 1, 0, 1) for offset in (0, 4, 2)]
    return np.clip(np.rint(np.stack(ramps, axis=-1) * value[..., None] * 255), 0, 255).astype(np.uint8)


def _decode_flow(image: np.ndarray) -> np.ndarray:
    rgb = image.astype(np.float64) / 255
    value, low = rgb.max(-1), rgb.min(-1)
    spread = np.maximum(value - low, 1e-9)
    r, g, b = np.moveaxis(rgb, -1, 0)
    red, green = value == r, value == g
    hue = np.where(red, ((g - b) / spread) % 6, np.where(green, (b - r) / spread + 2, (r - g) / spread + 4))
    angle = hue / 6 * 2 * np.pi
    length = value * MAXIMUM_FLOW * min(image.shape[-3:-1])
    return np.stack([length * np.cos(angle), length * np.sin(angle)], axis=-1).astype(np.float32)


FORMATS: dict[str, VisualFormat] = {
    visual_format.name: visual_format
    for visual_format in (
        VisualFormat("image", _encode_image, _encode_image),
        VisualFormat("depth", _encode_depth, _decode_depth),
        VisualFormat("normal", _encode_normal, _decode_normal),
        VisualFormat("segmentation", _encode_segmentation, _decode_segmentation),
        VisualFormat("mask", _encode_mask, _decode_mask),
        VisualFormat("detection", _encode_detection, _decode_detection),
        VisualFormat("pose", _encode_pose, _decode_pose),
        VisualFormat("edge", _encode_mask, _decode_mask),
        VisualFormat("flow", _encode_flow, _decode_flow),
    )
}
"""The table of formats by name."""


def find_format(name: str) -> VisualFormat:
    """Looks a format up.

    Raises:
        ValueError: If there is none of this name; lists those there are.
    """
    if name not in FORMATS:
        raise ValueError(f"There is no visual format {name!r}: choose one of {', '.join(FORMATS)}.")
    return FORMATS[name]
