# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Segmentations drawn over their images: tints with contours, labels and a legend. PIL draws.

Work is linear in the pixels: ids are counted, not sorted, colors come from a table, and images are tinted in bands of
rows, so that photographs of any size need little memory beside their own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from .canvas import font_of, to_pil
from .colors import class_color, instance_color, segment_colors
from .confusion import confusion_plot
from .grids import image_grid, side_by_side

__all__ = [
    "class_color",
    "confusion_plot",
    "image_grid",
    "instance_color",
    "outlined",
    "overlay",
    "overlay_semantic",
    "side_by_side",
]

# Ids up to here are counted; maps with larger ones are renumbered first.
LARGEST_COUNTED_ID = 1 << 20
# Rows that are tinted at once.
BAND_ROWS = 128
# Side of the window in which the point of a label is looked for; larger segments are thinned out.
LABEL_WINDOW = 192
# A legend with more lines explains nothing.
LONGEST_LEGEND = 24

Color = tuple[int, int, int]


def _to_map(segmentation: Any, image: Image.Image) -> np.ndarray:
    if hasattr(segmentation, "detach"):
        segmentation = segmentation.detach().cpu()
    array = np.asarray(segmentation)
    if array.shape != image.size[::-1]:
        raise ValueError(
            f"segmentation has shape {array.shape} but the image {image.size[::-1]} (height, width); resize the "
            "segmentation to the image (target_sizes in post-processing does)"
        )
    return array if array.dtype in (np.int32, np.int64) else array.astype(np.int64)


def _ids_of(segmentation: np.ndarray) -> list[int]:
    """Ids that occur, ascending."""
    low, high = (int(segmentation.min()), int(segmentation.max())) if segmentation.size else (0, 0)
    if high - low > LARGEST_COUNTED_ID:
        return np.unique(segmentation).tolist()
    counts = np.zeros(high - low + 1, dtype=bool)
    counts[(segmentation - low).ravel()] = True
    return (np.flatnonzero(counts) + low).tolist()


def _enlarge(image: Image.Image, segmentation: np.ndarray, minimum_side: int) -> tuple[Image.Image, np.ndarray]:
    """Image and map enlarged by a whole factor until the longer side reaches `minimum_side`."""
    factor = max(math.ceil(minimum_side / max(image.size)), 1)
    if factor == 1:
        return image, segmentation
    image = image.resize((image.width * factor, image.height * factor), Image.Resampling.BICUBIC)
    return image, segmentation.repeat(factor, axis=0).repeat(factor, axis=1)


def _index_map(segmentation: np.ndarray, ids: Sequence[int]) -> np.ndarray:
    """Position of each pixel's id in `ids`, plus 1; 0 for other ids. Shape: (H, W), uint8, uint16 or int32."""
    dtype = np.uint8 if len(ids) < 256 else np.uint16 if len(ids) < 65536 else np.int32
    low, high = (int(segmentation.min()), int(segmentation.max())) if segmentation.size else (0, 0)
    if high - low > LARGEST_COUNTED_ID:
        order = np.argsort(ids)
        places = np.searchsorted(np.asarray(ids)[order], segmentation).clip(max=max(len(ids) - 1, 0))
        found = np.asarray(ids)[order][places] == segmentation if len(ids) else np.zeros(segmentation.shape, dtype=bool)
        return np.where(found, order[places] + 1 if len(ids) else 0, 0).astype(dtype)
    table = np.zeros(high - low + 1, dtype=dtype)
    for position, segment_id in enumerate(ids, start=1):
        if low <= segment_id <= high:
            table[segment_id - low] = position
    return table[segmentation - low if low else segmentation]


def _areas(index_map: np.ndarray, count: int) -> np.ndarray:
    """Pixels of each index from 1 to `count`; in bands, because counting makes a wide copy."""
    bands = (index_map[top : top + BAND_ROWS] for top in range(0, len(index_map), BAND_ROWS))
    return sum((np.bincount(band.ravel(), minlength=count + 1) for band in bands), np.zeros(count + 1, np.int64))[1:]


def _contours(index_map: np.ndarray, width: int) -> np.ndarray:
    """Pixels along the borders between different ids, `width` pixels across.

    Shape:
        (H, W), integer -> (H, W), bool.
    """
    border = np.zeros(index_map.shape, dtype=bool)
    vertical = index_map[1:] != index_map[:-1]
    horizontal = index_map[:, 1:] != index_map[:, :-1]
    border[1:] |= vertical
    border[:-1] |= vertical
    border[:, 1:] |= horizontal
    border[:, :-1] |= horizontal
    for _ in range((width - 1) // 2):
        thin = border.copy()
        border[1:] |= thin[:-1]
        border[:-1] |= thin[1:]
        border[:, 1:] |= thin[:, :-1]
        border[:, :-1] |= thin[:, 1:]
    return border


def _tint(image: Image.Image, index_map: np.ndarray, colors: Sequence[Color], alpha: float, width: int) -> Image.Image:
    """Image with the color of every index over it and white lines between them; index 0 stays as it is."""
    pixels = np.array(image)
    border = _contours(index_map, width)
    table = np.array([(0, 0, 0), *colors], dtype=np.float32) * alpha + 0.5
    kept = np.full((len(table), 1), 1 - alpha, dtype=np.float32)
    table[0], kept[0] = 0.5, 1.0
    for top in range(0, len(pixels), BAND_ROWS):
        rows = slice(top, top + BAND_ROWS)
        band = pixels[rows] * kept[index_map[rows]] + table[index_map[rows]]
        lines = border[rows]
        band[lines] = 0.2 * band[lines] + 0.8 * 255
        pixels[rows] = band  # cut, after adding a half: rounded
    return Image.fromarray(pixels)


def outlined(image: Image.Image, segmentation: Any) -> Image.Image:
    """Image with white lines around the segments of an id map, on which tints of any color can be told apart.

    Raises:
        ValueError: Image and map differ in size.

    Shape:
        segmentation: (H, W), integer; 0 for no segment.
    """
    pixels = np.array(image.convert("RGB"))
    border = _contours(_to_map(segmentation, image), max(round(max(image.size) / 400), 1))
    pixels[border] = 0.2 * pixels[border] + 0.8 * 255
    return Image.fromarray(pixels)


def _inner_point(mask: np.ndarray) -> tuple[int, int]:
    """(x, y) of a pixel far from the border of a region, where a label is seen to belong to it."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    top, left = int(rows[0]), int(columns[0])
    window = mask[top : int(rows[-1]) + 1, left : int(columns[-1]) + 1]
    step = math.ceil(max(window.shape) / LABEL_WINDOW)
    thinned = window[::step, ::step]
    if not thinned.any():  # finer than the grid
        row = int(window.any(1).argmax())
        return left + int(window[row].argmax()), top + row
    depth = ndimage.distance_transform_edt(np.pad(thinned, 1))
    deepest = np.unravel_index(int(depth.argmax()), depth.shape)
    return left + (int(deepest[1]) - 1) * step, top + (int(deepest[0]) - 1) * step


def _draw_labels(
    image: Image.Image, labels: Sequence[tuple[str, tuple[int, int, int], tuple[int, int]]], size: int
) -> None:
    """Writes labels around their points, inside the image and apart from one another where there is room."""
    font = font_of(size)
    draw = ImageDraw.Draw(image)
    padding = max(size // 5, 2)
    taken: list[tuple[float, float, float, float]] = []
    for text, color, (x, y) in labels:
        left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
        width, height = right - left + 2 * padding + 4, bottom - top + 2 * padding

        def place(offset: float, x: int = x, y: int = y, w: float = width, h: float = height) -> tuple[float, ...]:
            box_left = min(max(x - w / 2, 0), max(image.width - w, 0))
            box_top = min(max(y - h / 2 + offset, 0), max(image.height - h, 0))
            return box_left, box_top, box_left + w, box_top + h

        offsets = [0.0] + [sign * step * (height + 1) for step in (1, 2, 3) for sign in (1, -1)]
        boxes = [place(offset) for offset in offsets]
        free = [
            box
            for box in boxes
            if not any(box[0] < t[2] and t[0] < box[2] and box[1] < t[3] and t[1] < box[3] for t in taken)
        ]
        box = free[0] if free else boxes[0]
        taken.append((box[0], box[1], box[2], box[3]))
        draw.rounded_rectangle(box, radius=padding, fill=(24, 24, 28))
        draw.rectangle((box[0], box[1] + padding / 2, box[0] + 3, box[3] - padding / 2), fill=color)
        draw.text((box[0] + 4 + padding - left, box[1] + padding - top), text, font=font, fill=(255, 255, 255))


def _with_legend(image: Image.Image, entries: Sequence[tuple[str, tuple[int, int, int]]], size: int) -> Image.Image:
    """Image with names beside it."""
    font = font_of(size)
    row = round(size * 1.6)
    rows = max(image.height // row, 1)
    columns = math.ceil(len(entries) / rows)
    measure = ImageDraw.Draw(image)
    column_width = round(max(measure.textlength(name, font=font) for name, _ in entries)) + 3 * size
    result = Image.new("RGB", (image.width + columns * column_width, image.height), "white")
    result.paste(image, (0, 0))
    draw = ImageDraw.Draw(result)
    for position, (name, color) in enumerate(entries):
        column, line = divmod(position, rows)
        x, y = image.width + column * column_width + size // 2, line * row + (row - size) // 2
        draw.rectangle((x, y, x + size, y + size), fill=color, outline=(60, 60, 60))
        draw.text((x + 1.5 * size, y + size / 2), name, font=font, fill="black", anchor="lm")
    return result


def _name_of(segment: Mapping[str, Any], class_id: int, id2label: Mapping[int, str] | None) -> str:
    return str(segment.get("label", class_id) if id2label is None else id2label.get(class_id, class_id))


def _label_places(
    index_map: np.ndarray,
    segments: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    colors: Sequence[Color],
    maximum: int,
) -> list[tuple[str, Color, tuple[int, int]]]:
    """Text, color and point of the labels of the largest segments."""
    areas = _areas(index_map, len(segments))
    boxes = ndimage.find_objects(index_map, max_label=len(segments))
    present = [position for position in range(len(segments)) if areas[position]]
    present.sort(key=lambda position: -int(areas[position]))
    labels = []
    for position in present[:maximum]:
        segment, window = segments[position], boxes[position]
        x, y = _inner_point(index_map[window] == position + 1)
        score = segment.get("score")
        track = f" #{segment['track']}" if "track" in segment else ""
        text = names[position] + track + ("" if score is None else f" {float(score):.2f}")
        labels.append((text, colors[position], (x + window[1].start, y + window[0].start)))
    return labels


def _legend_entries(
    classes: Sequence[int], names: Sequence[str], colors: Sequence[Color], of_class: Sequence[bool]
) -> list[tuple[str, Color]]:
    """Names and colors: one entry per class, or per object that has a color of its own."""
    entries: dict[Any, tuple[str, Color]] = {}
    for position, class_id in sorted(enumerate(classes), key=lambda item: (item[1], item[0])):
        if of_class[position]:
            entries.setdefault(class_id, (names[position], class_color(class_id)))
        else:
            number = sum(other == class_id for other in classes[: position + 1])
            text = names[position] + (f" {number}" if classes.count(class_id) > 1 else "")
            entries[(class_id, position)] = (text, colors[position])
    return list(entries.values())


def overlay(
    image: Any,
    segmentation: Any,
    segments_info: Sequence[Mapping[str, Any]],
    id2label: Mapping[int, str] | None = None,
    alpha: float = 0.5,
    draw_labels: bool = True,
    legend: bool = False,
    minimum_side: int = 512,
    maximum_labels: int = 40,
    color_by: str = "class",
) -> Image.Image:
    """Image with every segment tinted, outlined, and named with its score.

    Void (ids <= 0, and ids that `segments_info` does not list) keeps the image's own colors.

    Args:
        image: PIL image, uint8 array (H, W, 3) or uint8 tensor (3, H, W).
        segmentation: Map of segment ids, array or tensor.
        segments_info: `{"id", "category_id" or "label_id", "score" (optional)}` of every segment: a ground truth or the
            result of a post-processing method. With `"track"`, the number of an object in a video, color and text are
            those of the number, the same in every frame.
        id2label: Names of the classes; default: the segments' `"label"`, else the class numbers.
        alpha: Opacity of the tint, 0 to 1.
        draw_labels: Write class and score on the segments, the largest `maximum_labels` of them.
        legend: Add names and colors at the right; the result is then wider than the image.
        minimum_side: Smaller images are enlarged by a whole factor until their longer side has this length;
            0 for never.
        maximum_labels: Number of labels at most.
        color_by: "class": the color of the class, instances of one class in shades of it; "instance": a color of its
            own for each object, that of its `"color_number"` where it has one, while stuff (`was_fused`, or without a
            score) keeps that of its class.

    Raises:
        ValueError: If image and map differ in size, `alpha` is not in [0, 1], or `color_by` is unknown.

    Shape:
        segmentation: (H, W), integer.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha {alpha} must be between 0 (no tint) and 1 (opaque)")
    if color_by not in ("class", "instance"):
        raise ValueError(f"color_by must be one of class, instance; got {color_by!r}")
    drawn = to_pil(image)
    drawn, id_map = _enlarge(drawn, _to_map(segmentation, drawn), minimum_side)

    segments = [segment for segment in segments_info if int(segment["id"]) > 0]
    classes = [int(s["category_id"] if "category_id" in s else s["label_id"]) for s in segments]
    colors, of_class = segment_colors(segments, classes, color_by)
    index_map = _index_map(id_map, [int(segment["id"]) for segment in segments])
    drawn = _tint(drawn, index_map, colors, alpha, max(round(max(drawn.size) / 400), 1))

    names = [_name_of(segment, class_id, id2label) for segment, class_id in zip(segments, classes)]
    size = max(round(max(drawn.size) / 36), 13)
    if draw_labels:
        _draw_labels(drawn, _label_places(index_map, segments, names, colors, maximum_labels), size)
    if legend and segments:
        entries = _legend_entries(classes, names, colors, of_class)
        if color_by == "instance" and len(entries) > LONGEST_LEGEND:
            entries = [*entries[:LONGEST_LEGEND], (f"and {len(entries) - LONGEST_LEGEND} more", (255, 255, 255))]
        drawn = _with_legend(drawn, entries, size)
    return drawn


def overlay_semantic(
    image: Any,
    segmentation_map: Any,
    id2label: Mapping[int, str] | None = None,
    ignore_index: int = 255,
    alpha: float = 0.5,
    draw_labels: bool = False,
    legend: bool = True,
    minimum_side: int = 512,
) -> Image.Image:
    """Image tinted by a map of classes, with a legend; pixels with `ignore_index` keep their colors.

    Args and errors as `overlay`.

    Shape:
        segmentation_map: (H, W), integer.
    """
    class_map = _to_map(segmentation_map, to_pil(image))
    present = [class_id for class_id in _ids_of(class_map) if class_id != ignore_index and class_id >= 0]
    segmentation = np.where((class_map == ignore_index) | (class_map < 0), 0, class_map + 1)
    segments = [{"id": class_id + 1, "category_id": class_id} for class_id in present]
    return overlay(image, segmentation, segments, id2label, alpha, draw_labels, legend, minimum_side)
