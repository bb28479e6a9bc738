# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Pictures of segmentations: tinted overlays with contours, labels and a legend, and grids of pictures. PIL draws."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

__all__ = [
    "class_colour",
    "confusion_plot",
    "image_grid",
    "instance_colour",
    "overlay",
    "overlay_semantic",
    "side_by_side",
]

# Colour-blind-safe qualitative colours: seven of Okabe & Ito (2008), then those of Paul Tol's "muted" set that differ,
# the two darkest of them lightened so that the picture stays visible under the tint.
_PALETTE = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (204, 121, 167),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (92, 74, 190),
    (160, 50, 110),
    (153, 153, 51),
    (68, 170, 153),
    (204, 102, 119),
    (221, 204, 119),
)
# Lightness of the rounds through the palette, and of the instances of a class: towards white (+) or black (-).
_ROUNDS = (0.0, -0.3, 0.3, -0.5, 0.15)
_SHADES = (0.0, 0.3, -0.28, 0.45, -0.42, 0.15, -0.14)


def _shade(colour: tuple[int, int, int], amount: float) -> tuple[int, int, int]:
    goal = 255 if amount > 0 else 0
    red, green, blue = (round(value + (goal - value) * abs(amount)) for value in colour)
    return red, green, blue


def class_colour(class_id: int) -> tuple[int, int, int]:
    """Colour of a class, the same in every picture; after 13 classes the colours come back darker or lighter."""
    lap, position = divmod(int(class_id), len(_PALETTE))
    return _shade(_PALETTE[position], _ROUNDS[lap % len(_ROUNDS)])


def instance_colour(class_id: int, instance: int) -> tuple[int, int, int]:
    """Shade of the class colour for instance number 0, 1, ... of the class."""
    return _shade(class_colour(class_id), _SHADES[instance % len(_SHADES)])


def _to_pil(image: Any) -> Image.Image:
    if isinstance(image, Image.Image):
        return image.convert("RGB")
    if hasattr(image, "detach"):
        image = image.detach().cpu().numpy()
        if image.ndim == 3 and image.shape[0] in (1, 3):
            image = image.transpose(1, 2, 0)
    array = np.asarray(image)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.dtype != np.uint8 or array.ndim not in (2, 3):
        raise ValueError(
            f"image has data type {array.dtype} and shape {array.shape}; give a PIL image, or uint8 of (height, "
            "width, 3)"
        )
    return Image.fromarray(np.ascontiguousarray(array)).convert("RGB")


def _to_map(segmentation: Any, image: Image.Image) -> np.ndarray:
    if hasattr(segmentation, "detach"):
        segmentation = segmentation.detach().cpu()
    array = np.asarray(segmentation)
    if array.shape != image.size[::-1]:
        raise ValueError(
            f"segmentation has shape {array.shape} but the image {image.size[::-1]} (height, width); resize the "
            "segmentation to the image (target_sizes in post-processing does)"
        )
    return array.astype(np.int64)


def _font(size: int) -> Any:
    return ImageFont.load_default(size=size)


def _enlarge(image: Image.Image, segmentation: np.ndarray, minimum_side: int) -> tuple[Image.Image, np.ndarray]:
    """Picture and map enlarged by a whole factor until the longer side reaches `minimum_side`."""
    factor = max(math.ceil(minimum_side / max(image.size)), 1)
    if factor == 1:
        return image, segmentation
    image = image.resize((image.width * factor, image.height * factor), Image.Resampling.BICUBIC)
    return image, segmentation.repeat(factor, axis=0).repeat(factor, axis=1)


def _contours(segmentation: np.ndarray, width: int) -> np.ndarray:
    """Pixels along the borders between different ids.

    Shape:
        (H, W), integer -> (H, W), bool.
    """
    border = np.zeros(segmentation.shape, dtype=bool)
    vertical = segmentation[1:] != segmentation[:-1]
    horizontal = segmentation[:, 1:] != segmentation[:, :-1]
    border[1:] |= vertical
    border[:-1] |= vertical
    border[:, 1:] |= horizontal
    border[:, :-1] |= horizontal
    if width > 2:
        border = ndimage.binary_dilation(border, iterations=(width - 1) // 2)
    return border


def _inner_point(mask: np.ndarray) -> tuple[int, int]:
    """(x, y) of the pixel farthest from the border of a region, where a label is seen to belong to it."""
    rows, columns = np.nonzero(mask)
    top, left = int(rows.min()), int(columns.min())
    window = np.pad(mask[top : rows.max() + 1, left : columns.max() + 1], 1)
    row, column = np.unravel_index(int(ndimage.distance_transform_edt(window).argmax()), window.shape)
    return left + int(column) - 1, top + int(row) - 1


def _draw_labels(
    picture: Image.Image, labels: Sequence[tuple[str, tuple[int, int, int], tuple[int, int]]], size: int
) -> None:
    """Write labels around their points, inside the picture and apart from one another where there is room."""
    font = _font(size)
    draw = ImageDraw.Draw(picture)
    padding = max(size // 5, 2)
    taken: list[tuple[float, float, float, float]] = []
    for text, colour, (x, y) in labels:
        left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
        width, height = right - left + 2 * padding + 4, bottom - top + 2 * padding

        def place(offset: float, x: int = x, y: int = y, w: float = width, h: float = height) -> tuple[float, ...]:
            box_left = min(max(x - w / 2, 0), max(picture.width - w, 0))
            box_top = min(max(y - h / 2 + offset, 0), max(picture.height - h, 0))
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
        draw.rectangle((box[0], box[1] + padding / 2, box[0] + 3, box[3] - padding / 2), fill=colour)
        draw.text((box[0] + 4 + padding - left, box[1] + padding - top), text, font=font, fill=(255, 255, 255))


def _with_legend(picture: Image.Image, entries: Sequence[tuple[str, tuple[int, int, int]]], size: int) -> Image.Image:
    """Picture with the names of the classes beside it."""
    font = _font(size)
    row = round(size * 1.6)
    rows = max(picture.height // row, 1)
    columns = math.ceil(len(entries) / rows)
    measure = ImageDraw.Draw(picture)
    column_width = round(max(measure.textlength(name, font=font) for name, _ in entries)) + 3 * size
    result = Image.new("RGB", (picture.width + columns * column_width, picture.height), "white")
    result.paste(picture, (0, 0))
    draw = ImageDraw.Draw(result)
    for position, (name, colour) in enumerate(entries):
        column, line = divmod(position, rows)
        x, y = picture.width + column * column_width + size // 2, line * row + (row - size) // 2
        draw.rectangle((x, y, x + size, y + size), fill=colour, outline=(60, 60, 60))
        draw.text((x + 1.5 * size, y + size / 2), name, font=font, fill="black", anchor="lm")
    return result


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
) -> Image.Image:
    """Picture with every segment tinted in the colour of its class, outlined, and named with its score.

    Instances of a class have shades of its colour. Void (ids <= 0, and ids that `segments_info` does not list) keeps
    the picture's own colours.

    Args:
        image: PIL image, uint8 array (H, W, 3) or uint8 tensor (3, H, W).
        segmentation: Map of segment ids, array or tensor.
        segments_info: `{"id", "category_id" or "label_id", "score" (optional)}` of every segment: a ground truth or the
            result of a post-processing method. With `"track"`, the number of an object in a video, shade and text are
            those of the number, the same in every frame.
        id2label: Names of the classes; without it the class numbers are written.
        alpha: Opacity of the tint, 0 to 1.
        draw_labels: Write class and score on the segments, the largest `maximum_labels` of them.
        legend: Add the names of the classes at the right.
        minimum_side: Smaller pictures are enlarged by a whole factor until their longer side has this length;
            0 for never.
        maximum_labels: Number of labels at most.

    Raises:
        ValueError: If picture and map differ in size, or `alpha` is not in [0, 1].

    Shape:
        segmentation: (H, W), integer.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha {alpha} must be between 0 (no tint) and 1 (opaque)")
    picture = _to_pil(image)
    picture, id_map = _enlarge(picture, _to_map(segmentation, picture), minimum_side)

    seen: dict[int, int] = {}
    colours, classes = {}, {}
    for segment in segments_info:
        class_id = int(segment["category_id"] if "category_id" in segment else segment["label_id"])
        if int(segment["id"]) > 0:
            number = int(segment["track"]) - 1 if "track" in segment else seen.get(class_id, 0)
            colours[int(segment["id"])] = instance_colour(class_id, number)
            classes[int(segment["id"])] = class_id
            seen[class_id] = seen.get(class_id, 0) + 1

    ids, index_map = np.unique(id_map, return_inverse=True)
    index_map = index_map.reshape(id_map.shape)
    known = np.array([segment_id in colours for segment_id in ids.tolist()])
    table = np.array([colours.get(segment_id, (0, 0, 0)) for segment_id in ids.tolist()], dtype=np.float32)
    pixels = np.asarray(picture, dtype=np.float32)
    tinted = known[index_map][..., None]  # (H, W, 1)
    pixels = np.where(tinted, (1 - alpha) * pixels + alpha * table[index_map], pixels)
    width = max(round(max(picture.size) / 400), 1)
    border = _contours(np.where(known[index_map], index_map + 1, 0), width)
    pixels[border] = 0.2 * pixels[border] + 0.8 * np.array([255, 255, 255], dtype=np.float32)
    picture = Image.fromarray(np.round(pixels).astype(np.uint8))

    def name(class_id: int) -> str:
        return str(id2label.get(class_id, class_id)) if id2label is not None else str(class_id)

    size = max(round(max(picture.size) / 36), 13)
    if draw_labels:
        areas = np.bincount(index_map.ravel(), minlength=len(ids))
        boxes = ndimage.find_objects(index_map + 1)
        position_of = {segment_id: position for position, segment_id in enumerate(ids.tolist())}
        present = [segment for segment in segments_info if position_of.get(int(segment["id"])) is not None]
        present = [segment for segment in present if int(segment["id"]) in colours]
        present.sort(key=lambda segment: -int(areas[position_of[int(segment["id"])]]))
        labels = []
        for segment in present[:maximum_labels]:
            segment_id = int(segment["id"])
            window = boxes[position_of[segment_id]]
            x, y = _inner_point(index_map[window] == position_of[segment_id])
            score = segment.get("score")
            track = f" #{segment['track']}" if "track" in segment else ""
            text = name(classes[segment_id]) + track + ("" if score is None else f" {float(score):.2f}")
            labels.append((text, colours[segment_id], (x + window[1].start, y + window[0].start)))
        _draw_labels(picture, labels, size)
    if legend and classes:
        shown = sorted(set(classes.values()))
        picture = _with_legend(picture, [(name(class_id), class_colour(class_id)) for class_id in shown], size)
    return picture


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
    """Picture tinted by a map of classes, with a legend; pixels with `ignore_index` keep their colours.

    Args and errors as `overlay`.

    Shape:
        segmentation_map: (H, W), integer.
    """
    class_map = _to_map(segmentation_map, _to_pil(image))
    present = [int(c) for c in np.unique(class_map) if c != ignore_index and c >= 0]
    segmentation = np.where((class_map == ignore_index) | (class_map < 0), 0, class_map + 1)
    segments = [{"id": class_id + 1, "category_id": class_id} for class_id in present]
    return overlay(image, segmentation, segments, id2label, alpha, draw_labels, legend, minimum_side)


def _fitting(text: str, width: float, size: int, smallest: int = 10) -> tuple[str, Any]:
    """Text and font with which it is at most `width` wide: smaller letters, then fewer of them."""
    while size > smallest and _font(size).getlength(text) > width:
        size -= 1
    font = _font(size)
    if font.getlength(text) > width:
        while text and font.getlength(text + "...") > width:
            text = text[:-1]
        text = text.rstrip() + "..."
    return text, font


def image_grid(
    images: Sequence[Any],
    columns: int,
    titles: Sequence[str] | None = None,
    gap: int = 6,
    minimum_side: int = 0,
) -> Image.Image:
    """Pictures in rows of `columns`, each in a cell of the largest size, with optional titles above.

    Titles are as wide as their cells at most. Pictures are enlarged by a whole factor until the largest has a side of
    `minimum_side`.

    Raises:
        ValueError: Without pictures, without columns, or if the titles are not as many as the pictures.
    """
    if len(images) == 0 or columns < 1:
        raise ValueError(f"{len(images)} images in {columns} columns; give at least one of each")
    if titles is not None and len(titles) != len(images):
        raise ValueError(f"{len(titles)} titles for {len(images)} images; give one title per image")
    pictures = [_to_pil(image) for image in images]
    factor = max(math.ceil(minimum_side / max(max(picture.size) for picture in pictures)), 1)
    if factor > 1:
        pictures = [
            picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.BICUBIC)
            for picture in pictures
        ]
    columns = min(columns, len(pictures))
    width, height = (max(picture.size[axis] for picture in pictures) for axis in (0, 1))
    size = max(width // 28, 12)
    head = round(size * 1.6) if titles is not None else 0
    rows = math.ceil(len(pictures) / columns)
    result = Image.new("RGB", (columns * (width + gap) + gap, rows * (height + head + gap) + gap), "white")
    draw = ImageDraw.Draw(result)
    for position, picture in enumerate(pictures):
        row, column = divmod(position, columns)
        x, y = gap + column * (width + gap), gap + row * (height + head + gap)
        if titles is not None:
            text, font = _fitting(titles[position], width - 2, size)
            draw.text((x + 2, y + head / 2), text, font=font, fill="black", anchor="lm")
        result.paste(picture, (x, y + head))
    return result


def side_by_side(
    images: Sequence[Any], titles: Sequence[str] | None = None, gap: int = 6, minimum_side: int = 0
) -> Image.Image:
    """Pictures in one row, enlarged or reduced to the height of the tallest.

    Raises:
        ValueError: As `image_grid`.
    """
    pictures = [_to_pil(image) for image in images]
    height = max((picture.height for picture in pictures), default=0)
    pictures = [
        picture
        if picture.height == height
        else picture.resize((max(round(picture.width * height / picture.height), 1), height), Image.Resampling.BICUBIC)
        for picture in pictures
    ]
    return image_grid(pictures, max(len(pictures), 1), titles, gap, minimum_side)


def confusion_plot(
    confusion: Any, row_names: Sequence[str], column_names: Sequence[str], title: str = ""
) -> Image.Image:
    """Drawing of a confusion matrix: the share of each true class (row) that is predicted as each class (column).

    Shares are written in percent where the cells have room. One hue from white to dark blue carries them, so that the
    order of lightness tells the same as the colour. Classes that occur neither in truth nor in prediction are left
    out, and so are rows without truth.

    Args:
        confusion: Counts, row = true class, column = predicted class.
        row_names: Names of the rows.
        column_names: Names of the columns.
        title: Line above the matrix.

    Raises:
        ValueError: If the names do not fit the matrix, or it holds nothing.

    Shape:
        confusion: (R, C).
    """
    counts = np.asarray(confusion, dtype=np.float64)
    if counts.shape != (len(row_names), len(column_names)):
        raise ValueError(
            f"confusion has shape {counts.shape}, but there are {len(row_names)} row and {len(column_names)} column "
            "names; give one name per row and column"
        )
    rows = np.flatnonzero(counts.sum(1) > 0).tolist()
    shown_names = {row_names[row] for row in rows}
    columns = [c for c in range(counts.shape[1]) if counts[:, c].any() or column_names[c] in shown_names]
    if len(rows) == 0:
        raise ValueError("confusion holds no count; there is nothing to draw")
    shares = counts[rows] / counts[rows].sum(1, keepdims=True)
    shares = shares[:, columns]  # (rows, columns)

    cell = int(np.clip(900 // len(columns), 14, 52))
    label_font = _font(min(max(round(cell * 0.6), 11), 18))
    number_font = _font(max(round(cell * 0.36), 10))
    title_font = _font(18)
    probe = ImageDraw.Draw(Image.new("RGB", (1, 1)))

    def extent(names: Sequence[str]) -> int:
        return math.ceil(max(probe.textlength(name, font=label_font) for name in names))

    kept_rows, kept_columns = [row_names[row] for row in rows], [column_names[c] for c in columns]
    left, head = extent(kept_rows) + 44, extent(kept_columns) + 20
    top = head + (34 if title else 8) + 24
    width, height = cell * len(columns), cell * len(rows)
    bar_left = left + width + 24
    right = bar_left + 90
    canvas_width = max(right, math.ceil(probe.textlength(title, font=title_font)) + 24)
    result = Image.new("RGB", (canvas_width, max(top + height + 16, top + 140)), "white")
    draw = ImageDraw.Draw(result)
    if title:
        draw.text((12, 8), title, font=title_font, fill="black")

    dark = np.array([8, 48, 107])

    def colour(share: float) -> tuple[int, int, int]:
        red, green, blue = np.round(255 + (dark - 255) * share).astype(int).tolist()
        return red, green, blue

    lines = (222, 222, 222) if cell >= 28 else (242, 242, 242)
    for i, row in enumerate(shares):
        for j, share in enumerate(row):
            x, y = left + j * cell, top + i * cell
            draw.rectangle((x, y, x + cell - 1, y + cell - 1), fill=colour(share), outline=lines)
            if cell >= 28 and share >= 0.005:
                ink = "white" if share > 0.45 else "black"
                centre = (x + cell / 2, y + cell / 2)
                draw.text(centre, f"{100 * share:.0f}", font=number_font, fill=ink, anchor="mm")
        draw.text((left - 8, top + i * cell + cell / 2), kept_rows[i], font=label_font, fill="black", anchor="rm")
    for j, name in enumerate(kept_columns):
        text = Image.new("L", (math.ceil(probe.textlength(name, font=label_font)) + 4, cell), 0)
        ImageDraw.Draw(text).text((2, cell / 2), name, font=label_font, fill=255, anchor="lm")
        text = text.rotate(90, expand=True)
        result.paste("black", (left + j * cell, top - 6 - text.height), text)
    draw.text((left + width / 2, top - head - 10), "predicted", font=label_font, fill=(90, 90, 90), anchor="mm")
    side = Image.new("L", (60, 24), 0)
    ImageDraw.Draw(side).text((30, 12), "truth", font=label_font, fill=255, anchor="mm")
    side = side.rotate(90, expand=True)
    result.paste((90, 90, 90), (8, top + max(0, height // 2 - side.height // 2)), side)
    bar = max(min(height, 300), 120)
    for step in range(bar):
        draw.line((bar_left, top + step, bar_left + 18, top + step), fill=colour(1 - step / (bar - 1)))
    draw.rectangle((bar_left, top, bar_left + 18, top + bar), outline=(120, 120, 120))
    small = _font(12)
    for share, name in ((1.0, "100 %"), (0.5, "50 %"), (0.0, "0 %")):
        draw.text((bar_left + 24, top + (1 - share) * bar), name, font=small, fill="black", anchor="lm")
    return result
