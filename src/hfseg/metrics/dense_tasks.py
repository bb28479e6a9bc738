# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Numbers of dense tasks whose answers are read from images: keypoints, edges, segments, flow, objects in clips.

Counts are summed over a dataset before they are divided, so functions return counts where a metric pools.
"""

import math

import numpy as np
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

__all__ = [
    "edge_counts",
    "endpoint_error",
    "f_measure",
    "keypoint_hits",
    "object_scores",
    "segment_counts",
]

KEYPOINT_TOLERANCE = 0.2  # of the longer side of the person's keypoints (PCK@0.2)
EDGE_TOLERANCE = 0.0075  # of the image's diagonal (BSDS: Martin et al., PAMI 2004)
BOUNDARY_TOLERANCE = 0.008  # of the image's diagonal (DAVIS: Perazzi et al., CVPR 2016)


def keypoint_hits(prediction: np.ndarray, truth: np.ndarray) -> tuple[int, int]:
    """Counts keypoints of one kind that are where a person has them (PCK@0.2).

    An image of a pose shows every kind of keypoint in one color, so one place per kind can be read from it. It is a hit
    if it lies within 0.2 of the longer side of the keypoints of some person who has this keypoint.

    Args:
        prediction: (x, y, visible) of each kind of keypoint.
        truth: Likewise of each person.

    Shape:
        prediction: (K, 3). truth: (N, K, 3).

    Returns:
        Hits, and kinds of keypoints that some person shows.
    """
    people = np.asarray(truth, dtype=np.float64).reshape(-1, len(prediction), 3)
    hit, shown = np.zeros(len(prediction), dtype=bool), np.zeros(len(prediction), dtype=bool)
    for person in people:
        visible = person[:, 2] > 0
        if not visible.any():
            continue
        places = person[visible, :2]
        reach = KEYPOINT_TOLERANCE * max(float(np.ptp(places, axis=0).max()), 1.0)
        near = np.hypot(*(prediction[:, :2] - person[:, :2]).T) <= reach
        hit |= visible & (prediction[:, 2] > 0) & near
        shown |= visible
    return int(hit.sum()), int(shown.sum())


def _near(mask: np.ndarray, other: np.ndarray, reach: float) -> int:
    """Counts the pixels of a mask that have a pixel of the other within reach."""
    if not other.any():
        return 0
    return int((ndimage.distance_transform_edt(~other)[mask] <= reach).sum())


def edge_counts(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Counts edge pixels that have a counterpart within 0.75 % of the diagonal.

    Pixels are not paired one to one as in the BSDS code, so a thick edge is not punished as there.

    Shape:
        prediction, truth: (H, W), bool.

    Returns:
        Predicted pixels with a counterpart, predicted pixels, true pixels with a counterpart, true pixels: (4,), int64.
    """
    reach = max(EDGE_TOLERANCE * math.hypot(*truth.shape), 1.0)
    counts = [_near(prediction, truth, reach), prediction.sum(), _near(truth, prediction, reach), truth.sum()]
    return np.array(counts, dtype=np.int64)


def f_measure(counts: np.ndarray) -> float:
    """Harmonic mean of precision and recall, from `edge_counts`; 1 if there is nothing on both sides."""
    found, predicted, met, true = (float(value) for value in counts)
    if predicted == 0 and true == 0:
        return 1.0
    precision, recall = found / max(predicted, 1), met / max(true, 1)
    return 2 * precision * recall / max(precision + recall, 1e-12)


def _overlaps(prediction: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """IoU of every predicted with every true segment, 0 being none, and the areas of the predicted ones.

    Returns:
        IoU (P, N), and the ids that have a row and a column.
    """
    rows, row_of = np.unique(prediction, return_inverse=True)
    columns, column_of = np.unique(truth, return_inverse=True)
    shape = (len(rows), len(columns))
    flat = row_of.reshape(-1) * shape[1] + column_of.reshape(-1)
    table = np.bincount(flat, minlength=shape[0] * shape[1]).reshape(shape).astype(np.float64)
    union = table.sum(1, keepdims=True) + table.sum(0, keepdims=True) - table
    return (table / union)[np.ix_(rows != 0, columns != 0)], rows[rows != 0], columns[columns != 0]


def segment_counts(prediction: np.ndarray, truth: np.ndarray, smallest: float = 0.001) -> np.ndarray:
    """Counts segments for panoptic quality without classes (Kirillov et al., CVPR 2019, equation 1).

    Args:
        prediction: Ids, 0 for none.
        truth: Likewise.
        smallest: Predicted segments of a smaller share of the image do not count: between two colors of an image that
            is not exact there are pixels of a third.

    Shape:
        prediction, truth: (H, W).

    Returns:
        Sum of IoU of matches, matches (IoU above 0.5), predicted and true segments without one: (4,), float64.
    """
    ids, areas = np.unique(prediction, return_counts=True)
    kept = np.where(np.isin(prediction, ids[areas >= smallest * prediction.size]), prediction, 0)
    iou, predicted, true = _overlaps(kept, truth)
    matched = iou > 0.5  # at most one per row and column
    found = int(matched.sum())
    return np.array([iou[matched].sum(), found, len(predicted) - found, len(true) - found], dtype=np.float64)


def endpoint_error(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Mean length of the difference of two flows, in pixels, over pixels with a finite truth.

    Shape:
        prediction, truth: (..., 2).

    Raises:
        ValueError: No pixel has a flow.
    """
    valid = np.isfinite(truth).all(-1)
    if not valid.any():
        raise ValueError("No pixel has a valid flow (finite).")
    return float(np.hypot(*(prediction[valid].astype(np.float64) - truth[valid]).T).mean())


def _boundary(mask: np.ndarray) -> np.ndarray:
    """Pixels that differ from their neighbor to the right, below, or both. Shape: (H, W), bool."""
    edge = np.zeros_like(mask)
    edge[:, :-1] |= mask[:, :-1] != mask[:, 1:]
    edge[:-1] |= mask[:-1] != mask[1:]
    edge[:-1, :-1] |= mask[:-1, :-1] != mask[1:, 1:]
    return edge


def _boundary_f(prediction: np.ndarray, truth: np.ndarray) -> float:
    reach = math.ceil(BOUNDARY_TOLERANCE * math.hypot(*truth.shape))
    one, other = _boundary(prediction), _boundary(truth)
    return f_measure(np.array([_near(one, other, reach), one.sum(), _near(other, one, reach), other.sum()]))


def object_scores(prediction: np.ndarray, truth: np.ndarray) -> tuple[list[float], list[float]]:
    """Region similarity J and boundary accuracy F of the objects of a clip (DAVIS).

    Objects are matched one to one so that the sum of their IoU in space and time is largest; an object without a match
    scores 0. J is the mean over the frames of the IoU of the two masks (1 where both are empty), F that of the F
    measure of their boundaries within 0.8 % of the diagonal.

    Shape:
        prediction, truth: (T, H, W), ids, 0 for none.

    Returns:
        J and F of every true object.
    """
    iou, predicted, true = _overlaps(prediction, truth)
    rows, columns = linear_sum_assignment(iou, maximize=True)
    partner = {int(column): int(row) for row, column in zip(rows, columns) if iou[row, column] > 0}
    region, boundary = [], []
    for column, number in enumerate(true):
        if column not in partner:
            region.append(0.0)
            boundary.append(0.0)
            continue
        pairs = list(zip(prediction == predicted[partner[column]], truth == number))
        unions = [np.count_nonzero(one | other) for one, other in pairs]
        shares = [np.count_nonzero(a & b) / union if union else 1.0 for (a, b), union in zip(pairs, unions)]
        region.append(float(np.mean(shares)))
        boundary.append(float(np.mean([_boundary_f(one, other) for one, other in pairs])))
    return region, boundary
