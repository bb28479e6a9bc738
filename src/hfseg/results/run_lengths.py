# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""COCO's two forms of a mask, run lengths and polygons: the one place where they are encoded, checked and drawn.

Run lengths count alternating runs of 0 and 1, column by column, 0 first; the compressed form packs them into text.
Polygons are drawn by COCO's rule: vertices lie on pixel corners, the outline is traced on a grid five times as fine,
and a pixel belongs to the polygon if its center column crosses the outline an odd number of times above it. Masks are
the same with and without pycocotools, and bit-equal to its own. Sizes are checked before memory is spent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from torch import Tensor

from ..files.images import DEFAULT_MAX_PIXELS

__all__ = [
    "MAX_RELATIVE_COORDINATE",
    "canonical_run_lengths",
    "decode_run_lengths",
    "decode_segmentation",
    "draw_polygons",
    "draws_nothing",
    "encode_run_lengths",
]

# Polygons may leave the image, but not by more than this many times its longer side.
MAX_RELATIVE_COORDINATE = 10
# COCO's rule traces outlines on a grid this many times as fine as the pixels.
_FINE = 5
# Outline points that are traced at a time, and that one polygon may have beyond those of a dense scribble.
_TRACED_AT_ONCE = 1 << 20
_MAX_OUTLINE = 20_000_000


def encode_run_lengths(mask: np.ndarray | Tensor, compressed: bool = False) -> dict[str, Any]:
    """COCO run-length encoding of a mask: lengths of alternating runs of 0 and 1 in column-major order, 0 first.

    Args:
        mask: Boolean or 0/1 mask.
        compressed: False gives the list of counts; True COCO's string.

    Shape:
        mask: (H, W).

    Raises:
        ValueError: The mask is not two-dimensional.
    """
    array = mask.cpu().numpy() if isinstance(mask, Tensor) else np.asarray(mask)
    if array.ndim != 2:
        raise ValueError(f"A mask must be (H, W), got the shape {array.shape}.")
    counts = counts_of_runs(*mask_runs(array.astype(bool)), array.size)
    return {"size": list(array.shape), "counts": compress_counts(counts) if compressed else counts.tolist()}


def decode_run_lengths(encoded: Mapping[str, Any], size: Sequence[int] | None = None) -> np.ndarray:
    """Decodes a COCO run-length encoding, compressed (str or bytes) or not (list of counts).

    Args:
        encoded: `{"size": [H, W], "counts": ...}`.
        size: Height and width of the image; another size of the encoding is an error.

    Shape:
        Output: (H, W), bool.

    Raises:
        ValueError: The size is missing, not the image's or beyond the limit of an image; the counts are no counts, or
            do not add up to the size.
    """
    (height, width), counts = _checked(encoded, size)
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, counts).reshape(width, height).T


def canonical_run_lengths(encoded: Mapping[str, Any], size: Sequence[int] | None = None) -> dict[str, Any]:
    """The same run lengths in COCO's compressed form (bytes, as pycocotools takes them), checked.

    Raises:
        ValueError: As `decode_run_lengths`.
    """
    return canonical_all([encoded], size)[0]


def canonical_all(encoded: Sequence[Mapping[str, Any]], size: Sequence[int] | None = None) -> list[dict[str, Any]]:
    """`canonical_run_lengths` of several masks, at a fraction of the time.

    Raises:
        ValueError: As `decode_run_lengths`, for the first that is not right.
    """
    items = _decompressed(encoded)
    checked = [_checked(item, size) for item in items]
    plain = [place for place, (item, given) in enumerate(zip(items, encoded)) if item is given]
    texts: dict[int, str | bytes] = dict(zip(plain, compress_all([checked[place][1] for place in plain])))
    result = []
    for place, ((height, width), _) in enumerate(checked):
        text = texts.get(place, encoded[place].get("counts"))
        result.append({"size": [height, width], "counts": text.encode("ascii") if isinstance(text, str) else text})
    return result


def _decompressed(encoded: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """The same masks with arrays in place of COCO's text; all as they are if one text is damaged."""
    texts: list[Any] = [item.get("counts") if isinstance(item, Mapping) else None for item in encoded]
    places = [place for place, text in enumerate(texts) if isinstance(text, (str, bytes))]
    try:
        decoded = decompress_all([texts[place] for place in places])
    except ValueError:
        decoded = [decompress_counts(texts[place]) for place in places]  # says which
    items = [*encoded]
    for place, counts in zip(places, decoded):
        items[place] = {**encoded[place], "counts": counts}
    return items


def _checked(encoded: Mapping[str, Any], size: Sequence[int] | None) -> tuple[tuple[int, int], np.ndarray]:
    """Size and counts that fill it."""
    height, width = _checked_size(encoded, size)
    counts = _checked_counts(encoded.get("counts") if isinstance(encoded, Mapping) else None)
    total = height * width
    if (counts < 0).any():
        place = int(np.argmax(counts < 0))
        raise ValueError(
            f"Run lengths hold the negative count {counts[place]} at index {place}; a run has 0 pixels or more. Is the "
            "encoding damaged?"
        )
    # In floating point first: a sum of huge counts would wrap around.
    if counts.astype(np.float64).sum() > 2 * total or int(counts.sum()) != total:
        added = counts.astype(np.float64).sum()
        raise ValueError(f"Run lengths add up to {added:.0f}, but the size {height} x {width} needs {total}.")
    return (height, width), counts


def _checked_size(encoded: Any, size: Sequence[int] | None) -> tuple[int, int]:
    stated = encoded.get("size") if isinstance(encoded, Mapping) else None
    if isinstance(stated, np.ndarray):
        stated = stated.tolist()
    if not isinstance(stated, (list, tuple)) or len(stated) != 2 or not all(_is_count(value) for value in stated):
        raise ValueError(f"Run lengths need 'size', [height, width] in pixels, got {stated!r}.")
    height, width = (int(value) for value in stated)
    if size is not None and (height, width) != tuple(int(side) for side in size):
        raise ValueError(
            f"Run lengths are for {height} x {width} pixels, but the image has {int(size[0])} x {int(size[1])} (height "
            "x width); scale the mask or give the image it was drawn on."
        )
    if height < 1 or width < 1 or height * width > DEFAULT_MAX_PIXELS:
        raise ValueError(f"Run lengths for {height} x {width} pixels; an image has 1 to {DEFAULT_MAX_PIXELS} pixels.")
    return height, width


def _is_count(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, (int, np.integer)) or (
        isinstance(value, (float, np.floating)) and float(value) == int_or(float(value))
    )


def int_or(value: float) -> float:
    """The whole number nearest to zero from a value, NaN for what is not finite."""
    return float(math.trunc(value)) if math.isfinite(value) else math.nan


def _checked_counts(counts: Any) -> np.ndarray:
    """Counts as an array, decompressed."""
    if isinstance(counts, (str, bytes)):
        return decompress_counts(counts)
    if isinstance(counts, (list, tuple, np.ndarray)):
        try:
            values = np.asarray(counts)
            if values.size == 0:
                return np.zeros(0, dtype=np.int64)
            if values.ndim == 1 and np.issubdtype(values.dtype, np.integer):
                return values.astype(np.int64)
            if values.ndim == 1 and np.issubdtype(values.dtype, np.floating):
                if np.isfinite(values).all() and (values == np.trunc(values)).all() and np.abs(values).max() < 2**53:
                    return values.astype(np.int64)
        except (ValueError, OverflowError):
            pass
    described = f"{type(counts).__name__} {str(counts)[:60]!r}" if counts is not None else "none"
    raise ValueError(
        f"'counts' of run lengths must be a list of whole numbers or COCO's compressed text, got {described}."
    )


def draw_polygons(polygons: Sequence[Sequence[float]], size: Sequence[int]) -> np.ndarray:
    """Draws the union of COCO polygons `[x, y, x, y, ...]` in pixels, by COCO's rule.

    Args:
        polygons: One or more closed outlines.
        size: Height and width of the image.

    Shape:
        Output: (H, W), bool.

    Raises:
        ValueError: An outline of fewer than three points, of an odd number of values, with values that are no finite
            numbers or lie farther than 10 image sides away, or that is absurdly long.
    """
    height, width = (int(side) for side in size)
    if height < 1 or width < 1 or height * width > DEFAULT_MAX_PIXELS:
        raise ValueError(f"A mask of {height} x {width} pixels; an image has 1 to {DEFAULT_MAX_PIXELS} pixels.")
    points = [_checked_polygon(polygon, height, width) for polygon in polygons]
    drawn = np.zeros((width, height), dtype=bool)
    for polygon in points:
        counts = np.diff(_crossings(polygon, height, width), prepend=0, append=height * width)
        drawn |= np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(width, height)
    return drawn.T


def draws_nothing(segmentation: Any, size: Sequence[int]) -> bool:
    """Whether a COCO segmentation covers no pixel: outlines outside of the image or without area, empty run lengths.

    Damaged ones are another matter, and do not count as empty. An outline inside the image is not drawn where its area
    is larger than its perimeter: a circle of radius 1 fits in then.
    """
    height, width = (int(side) for side in size)
    try:
        if isinstance(segmentation, Mapping):
            return not _checked(segmentation, size)[1][1::2].any()
        for outline in segmentation:
            points = np.array(outline, dtype=np.float64).reshape(-1, 2)
            edges = np.roll(points, -1, axis=0) - points
            area = abs((points[:, 0] * edges[:, 1] - points[:, 1] * edges[:, 0]).sum()) / 2
            inside = points.min() >= 0 and (points.max(axis=0) <= (width, height)).all()
            if inside and area > np.hypot(edges[:, 0], edges[:, 1]).sum():
                return False
        return not decode_segmentation(segmentation, size).any()
    except (ValueError, TypeError, IndexError):
        return False


def _checked_polygon(polygon: Any, height: int, width: int) -> np.ndarray:
    """Points (N, 2) of an outline, in pixels."""
    if isinstance(polygon, (str, bytes, Mapping)) or not hasattr(polygon, "__len__"):
        raise ValueError(
            "A polygon must be a list of numbers [x, y, x, y, ...] inside a list of polygons, got "
            f"{str(polygon)[:60]!r}."
        )
    if len(polygon) < 6 or len(polygon) % 2:
        raise ValueError(f"A polygon of {len(polygon)} numbers; at least three (x, y) pairs are needed.")
    try:
        values = np.array([float(value) for value in polygon], dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"A polygon holds something else than numbers: {error}.") from error
    limit = MAX_RELATIVE_COORDINATE * max(height, width)
    wrong = ~(np.abs(values) <= limit)  # also NaN
    if wrong.any():
        raise ValueError(
            f"A polygon has the coordinate {values[wrong][0]:g}; the image has {height} x {width} pixels, and "
            f"coordinates must be finite and within {limit}."
        )
    return values.reshape(-1, 2)


def _crossings(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """Pixels, in column-major order, above which an outline crosses a column's center an odd number of times.

    Shape:
        points: (N, 2); output: (K,), ascending, 0 to H * W.
    """
    fine = np.trunc(_FINE * points + 0.5).astype(np.int64)
    starts, ends = fine, np.roll(fine, -1, axis=0)
    steps = np.abs(ends - starts).max(axis=1) + 1  # points on each edge, its ends included
    if steps.sum() > _MAX_OUTLINE + 20 * height * width:
        raise ValueError(
            f"A polygon's outline is {steps.sum() / _FINE:.3g} pixels long, in an image of {height} x {width}; "
            "simplify it."
        )
    before, crossed = None, []
    bounds = np.flatnonzero(np.diff(np.cumsum(steps) // _TRACED_AT_ONCE)) + 1
    for first, last in zip([0, *bounds], [*bounds, len(steps)]):
        traced = _edge_points(starts[first:last], ends[first:last], steps[first:last])
        if before is not None:
            traced = np.concatenate([before, traced])
        before = traced[-1:]
        u, v = traced[:, 0], traced[:, 1]
        (moved,) = np.nonzero(u[1:] != u[:-1])
        here, next_u = u[moved], u[moved + 1]
        column = (np.minimum(here, next_u - (next_u > here)) + 0.5) / _FINE - 0.5
        row = np.minimum(v[moved], v[moved + 1])
        kept = (column == np.floor(column)) & (column >= 0) & (column <= width - 1)
        rows = np.ceil(np.clip((row[kept] + 0.5) / _FINE - 0.5, 0, height)).astype(np.int64)
        crossed.append(column[kept].astype(np.int64) * height + rows)
    places, times = np.unique(np.concatenate(crossed), return_counts=True)
    return places[times % 2 == 1]


def _edge_points(starts: np.ndarray, ends: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Grid points on every edge, from its start to its end, one per step along the longer direction.

    Shape:
        starts, ends: (N, 2); steps: (N,). Output: (sum of steps, 2).
    """
    difference = ends - starts
    flat = np.abs(difference[:, 0]) >= np.abs(difference[:, 1])
    long_axis = np.where(flat, 0, 1)
    rows = np.arange(len(starts))
    backwards = difference[rows, long_axis] < 0
    low = np.where(backwards[:, None], ends, starts)
    high = np.where(backwards[:, None], starts, ends)
    span = high - low
    slope = span[rows, 1 - long_axis] / np.maximum(span[rows, long_axis], 1)

    edge = np.repeat(rows, steps)
    place = np.arange(len(edge)) - np.repeat(np.cumsum(steps) - steps, steps)
    place = np.where(backwards[edge], steps[edge] - 1 - place, place)
    along = place + low[edge, long_axis[edge]]
    across = np.trunc(low[edge, 1 - long_axis[edge]] + slope[edge] * place + 0.5).astype(np.int64)
    on_flat = flat[edge]
    return np.stack([np.where(on_flat, along, across), np.where(on_flat, across, along)], axis=1)


def decode_segmentation(segmentation: Any, size: Sequence[int]) -> np.ndarray:
    """Draws the `segmentation` of a COCO annotation: polygons, or run lengths of either form.

    Args:
        segmentation: List of polygons, or `{"size", "counts"}`.
        size: Height and width of the image.

    Shape:
        Output: (H, W), bool.

    Raises:
        ValueError: As `draw_polygons` and `decode_run_lengths`, and for anything else.
    """
    if isinstance(segmentation, Mapping):
        return decode_run_lengths(segmentation, size)
    if isinstance(segmentation, (list, tuple)) and len(segmentation):
        if all(isinstance(value, (int, float)) for value in segmentation):
            raise ValueError(
                "The segmentation is one flat list of numbers; COCO's is a list of polygons, [[x, y, x, y, ...], ...]."
            )
        return draw_polygons(segmentation, size)
    raise ValueError("There is no segmentation, only a box perhaps; segmentation needs polygons or run lengths.")


# ------------------------------------------------------------------------------------------------------- run lengths


def mask_runs(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Start and end (exclusive) of the runs of 1 in column-major order.

    Shape:
        mask: (H, W), bool.
    """
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(flat.view(np.int8), prepend=0, append=0))
    return edges[::2], edges[1::2]


def counts_of_runs(starts: np.ndarray, ends: np.ndarray, pixels: int) -> np.ndarray:
    """Lengths of alternating runs of 0 and 1 from the runs of 1."""
    edges = np.empty(2 * len(starts) + 2, dtype=np.int64)
    edges[0], edges[-1] = 0, pixels
    edges[1:-1:2], edges[2:-1:2] = starts, ends
    counts = np.diff(edges)
    # No trailing run of zeros when the last pixel is set.
    return counts[:-1] if len(counts) > 1 and counts[-1] == 0 else counts


def compress_counts(counts: np.ndarray) -> str:
    """COCO's text: from the fourth on the difference to the count two before, five bits per character, low first."""
    return compress_all([counts])[0]


def compress_all(counts: Sequence[np.ndarray]) -> list[str]:
    """COCO's text of several masks at once; see `compress_counts`."""
    if not counts:
        return []
    lengths = np.array([len(own) for own in counts])
    ends = np.cumsum(lengths)
    original = np.concatenate(counts).astype(np.int64)
    values, place = original.copy(), np.arange(len(original)) - np.repeat(ends - lengths, lengths)
    late = np.flatnonzero(place >= 3)
    values[late] -= original[late - 2]
    characters = np.zeros((len(values), 13), dtype=np.uint8)
    pending = np.arange(len(values))
    for position in range(characters.shape[1]):
        chunk, values = values & 31, values >> 5  # arithmetic: keeps the sign
        more = np.where(chunk & 16, values != -1, values != 0)
        characters[pending, position] = chunk + 32 * more + 48
        pending, values = pending[more], values[more]
        if not len(pending):
            break
    text = characters[characters > 0].tobytes().decode("ascii")
    written = np.concatenate([[0], np.cumsum((characters > 0).sum(1))])[np.concatenate([[0], ends])].tolist()
    return [text[first:last] for first, last in pairwise(written)]


def decompress_counts(text: str | bytes) -> np.ndarray:
    """Counts of COCO's text.

    Raises:
        ValueError: Characters that it never has, a number of more than twelve characters, or one that breaks off.
    """
    return decompress_all([text])[0]


def decompress_all(texts: Sequence[str | bytes]) -> list[np.ndarray]:
    """Counts of several of COCO's texts.

    Raises:
        ValueError: As `decompress_counts`, for one of them.
    """
    try:
        contents = [text.encode("ascii") if isinstance(text, str) else bytes(text) for text in texts]
    except UnicodeEncodeError as error:
        raise ValueError("Compressed run lengths hold characters beyond ASCII.") from error
    chunks = np.frombuffer(b"".join(contents), dtype=np.uint8).astype(np.int64) - 48
    if not len(chunks):
        return [np.zeros(0, dtype=np.int64) for _ in texts]
    if chunks.min() < 0 or chunks.max() > 63:
        raise ValueError("Compressed run lengths hold characters that COCO's text never has; is it damaged?")
    (ends,) = np.nonzero(chunks < 32)  # no bit for "more"
    lasts = np.cumsum([len(content) for content in contents]) - 1
    # How many numbers end up to the end of each text.
    numbers = np.searchsorted(ends, lasts, side="right")
    written = np.array([bool(content) for content in contents])
    if not np.isin(lasts[written], ends).all():
        raise ValueError("Compressed run lengths break off in the middle of a number; is the text cut short?")
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > 12:
        raise ValueError("Compressed run lengths hold a number that is too large; is the text damaged?")
    place = np.arange(len(chunks)) - np.repeat(starts, lengths)
    values = np.add.reduceat((chunks & 31) << (5 * place), starts)
    values -= np.where(chunks[ends] & 16, np.int64(1) << (5 * lengths), 0)
    bounds = [0, *numbers.tolist()]
    index = np.arange(len(values)) - np.repeat(bounds[:-1], np.diff(bounds))
    for first in (1, 2):  # sums along every second number of a text
        chain = np.flatnonzero((index >= first) & (index % 2 == first % 2))
        sums, heads = np.cumsum(values[chain]), np.flatnonzero(index[chain] == first)
        before = sums[heads] - values[chain[heads]]
        values[chain] = sums - np.repeat(before, np.diff(np.append(heads, len(chain))))
    return [values[low:high] for low, high in pairwise(bounds)]
