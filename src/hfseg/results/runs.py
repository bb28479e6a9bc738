# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Runs of pixels, column by column, of masks that are kept as bits or as an id map; nothing is drawn at full size."""

from collections.abc import Sequence

import numpy as np

__all__ = ["box_of_runs", "runs_of_bits", "runs_of_ids"]

Runs = tuple[np.ndarray, np.ndarray]


def runs_of_bits(packed: np.ndarray, width: int) -> Runs:
    """Runs of one mask, found inside its box.

    Args:
        packed: Bits of the mask along the width, first pixel highest.
        width: Of the mask, in pixels.

    Returns:
        Start and end (exclusive) of each run in column-major order.

    Shape:
        packed: (H, ceil(W / 8)), uint8.
    """
    height = len(packed)
    rows = np.flatnonzero(packed.any(1))
    if not len(rows):
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    filled = np.flatnonzero(packed[top:bottom].any(0))
    first, last = int(filled[0]), int(filled[-1]) + 1
    box = np.unpackbits(packed[top:bottom, first:last], axis=1, count=min(8 * last, width) - 8 * first)
    # Each column with a zero below it, so that no run goes on in the next; unless the box is as high as the image.
    stride = bottom - top + (bottom - top < height)
    columns = np.zeros((box.shape[1], stride), dtype=np.int8)
    columns[:, : bottom - top] = box.T
    edges = np.flatnonzero(np.diff(columns.ravel(), prepend=0, append=0))
    if stride < height or bottom - top < height:
        column, row = np.divmod(edges, stride)
        edges = (8 * first + column) * height + top + row
    else:
        edges = edges + 8 * first * height
    return edges[::2], edges[1::2]


def runs_of_ids(ids: np.ndarray, wanted: Sequence[int]) -> list[Runs]:
    """Runs of several ids from one pass over an id map. Shape: ids (H, W), integer."""
    flat = ids.T.ravel()
    starts = np.flatnonzero(np.concatenate([[flat.size > 0], flat[1:] != flat[:-1]]))
    ends = np.append(starts[1:], flat.size)
    run_ids = flat[starts]
    order = np.argsort(run_ids, kind="stable")  # runs of an id stay in the order of their starts
    sorted_ids = run_ids[order]
    found = []
    for segment_id in wanted:
        first, last = np.searchsorted(sorted_ids, [segment_id, segment_id + 1])
        found.append((starts[order[first:last]], ends[order[first:last]]))
    return found


def box_of_runs(starts: np.ndarray, ends: np.ndarray, height: int) -> list[float]:
    """Box [x, y, width, height] of runs in a mask of a height; zeros for no run."""
    if len(starts) == 0:
        return [0.0, 0.0, 0.0, 0.0]
    first_column, last_column = starts // height, (ends - 1) // height
    spans_columns = last_column > first_column
    top = np.where(spans_columns, 0, starts % height).min()
    bottom = np.where(spans_columns, height - 1, (ends - 1) % height).max()
    left, right = first_column.min(), last_column.max()
    return [float(left), float(top), float(right - left + 1), float(bottom - top + 1)]
