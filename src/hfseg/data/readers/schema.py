# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Data schemas of hfseg and the conversions between them.

Two schemas are used by the closed-vocabulary tasks:

* *universal* (panoptic, instance): `image`, `segmentation` (a map of segment ids, 0 = void) and `segments_info`, a list
  of `{"id", "category_id", "iscrowd", "area", "bbox"}` with the area in pixels and the box `[x, y, width, height]`;
* *semantic*: `image`, `segmentation_map` (a map of class ids, `ignore_index` = void).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    import datasets

__all__ = [
    "DEFAULT_IGNORE_INDEX",
    "class_label_or_int",
    "compact_ids",
    "medical_features",
    "segments_from_map",
    "semantic_features",
    "semantic_map",
    "universal_features",
    "white_of",
]

DEFAULT_IGNORE_INDEX = 255


def class_label_or_int(label_names: Sequence[str] | None) -> Any:
    """Feature of a class id, with names if there are any."""
    import datasets

    return datasets.Value("int64") if label_names is None else datasets.ClassLabel(names=list(label_names))


def universal_features(label_names: Sequence[str] | None = None) -> datasets.Features:
    """Feature description of the universal schema; with `label_names`, `category_id` becomes a `ClassLabel`."""
    import datasets

    segment = {
        "id": datasets.Value("int64"),
        "category_id": class_label_or_int(label_names),
        "iscrowd": datasets.Value("int8"),
        "area": datasets.Value("int64"),
        "bbox": datasets.List(datasets.Value("float32"), length=4),
    }
    return datasets.Features(
        {
            "image": datasets.Image(),
            "segmentation": datasets.Image(mode="I;16"),
            "segments_info": datasets.List(segment),
        }
    )


def instance_features(label_names: Sequence[str] | None = None) -> dict[str, Any]:
    """Feature description of an entry of `instances`: an object with its own mask as COCO's run lengths."""
    import datasets

    return {
        "category_id": class_label_or_int(label_names),
        "iscrowd": datasets.Value("int8"),
        "area": datasets.Value("float64"),
        "segmentation": {
            "size": datasets.List(datasets.Value("int32"), length=2),
            "counts": datasets.Value("string"),
        },
    }


def semantic_features() -> datasets.Features:
    """Feature description of the semantic schema."""
    import datasets

    return datasets.Features({"image": datasets.Image(), "segmentation_map": datasets.Image()})


def medical_features(label_names: Sequence[str] | None = None) -> datasets.Features:
    """Feature description of the medical schema, slice by slice: image and mask, spacing, modality, orientation.

    Args:
        label_names: Of the classes 0 .. C-1, which the column `classes` carries; without, it holds plain numbers.
    """
    import datasets

    return datasets.Features(
        {
            "image": datasets.List(datasets.List(datasets.List(datasets.Value("float32")))),
            "mask": datasets.Image(),
            "classes": datasets.List(class_label_or_int(label_names)),
            "spacing": datasets.List(datasets.Value("float32")),
            "modality": datasets.Value("string"),
            "orientation": datasets.Value("string"),
            "case_id": datasets.Value("string"),
            "patient_id": datasets.Value("string"),
            "slice_index": datasets.Value("int32"),
        }
    )


def compact_ids(segmentation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ids that occur in a map, ascending, and the map written as positions in that list.

    The same as `numpy.unique(..., return_inverse=True)`, but without sorting every pixel, which is several times
    faster on label maps.

    Shape:
        segmentation: (H, W), integer -> (N,), int64 and (H, W), int32.
    """
    if segmentation.size and segmentation.min() >= 0 and segmentation.max() < 1 << 20:
        counts = np.bincount(segmentation.ravel())
        ids = np.flatnonzero(counts)
        positions = np.zeros(len(counts), dtype=np.int32)
        positions[ids] = np.arange(len(ids), dtype=np.int32)
        return ids, positions.take(segmentation)
    # Sort one value per run instead of every pixel: large ids come from dense maps too.
    flat = segmentation.ravel()
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])[: flat.size]
    ids, of_runs = np.unique(flat[starts], return_inverse=True)
    index_map = np.repeat(of_runs.astype(np.int32), np.diff(starts, append=flat.size))
    return ids.astype(np.int64), index_map.reshape(segmentation.shape)


def white_of(values: set[int]) -> int | None:
    """White of labels that hold black and white only, of 8 or 16 bits: 255 or 65535; None if they hold others."""
    white = values - {0}
    return next(iter(white)) if white in ({255}, {65535}) else None


def segments_from_map(
    segmentation: np.ndarray, category_of_id: dict[int, int], crowd_ids: frozenset[int] | set[int] = frozenset()
) -> list[dict[str, Any]]:
    """`segments_info` of an id map: exact pixel area and box of every non-zero id, in ascending order of the ids.

    Args:
        segmentation: Map of segment ids, 0 = void.
        category_of_id: Class id of every segment id that may occur in the map.
        crowd_ids: Segment ids that are crowd regions.

    Raises:
        ValueError: If the map holds an id that `category_of_id` does not know.

    Shape:
        segmentation: (H, W), integer.
    """
    ids, index_map = compact_ids(segmentation)
    areas = np.bincount(index_map.ravel(), minlength=len(ids))
    # Index 0 would be background to find_objects, hence the shift.
    boxes = ndimage.find_objects(index_map + 1, max_label=len(ids))

    segments = []
    for position, segment_id in enumerate(ids.tolist()):
        if segment_id == 0:
            continue
        if segment_id not in category_of_id:
            raise ValueError(
                f"the id map holds segment id {segment_id}, which has no entry among the {len(category_of_id)} known "
                "segments; list it in segments_info or set its pixels to 0 (void)"
            )
        rows, columns = boxes[position]
        segments.append(
            {
                "id": segment_id,
                "category_id": int(category_of_id[segment_id]),
                "iscrowd": int(segment_id in crowd_ids),
                "area": int(areas[position]),
                "bbox": [columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start],
            }
        )
    return segments


def semantic_map(
    segmentation: np.ndarray, segments_info: Sequence[dict[str, Any]], ignore_index: int = DEFAULT_IGNORE_INDEX
) -> np.ndarray:
    """Class of every pixel of an id map; pixels of no listed segment and of crowd segments get `ignore_index`.

    Shape:
        segmentation: (H, W), integer -> (H, W), int64.
    """
    ids, index_map = compact_ids(segmentation)
    category_of_id = {
        int(segment["id"]): int(segment["category_id"]) for segment in segments_info if not segment.get("iscrowd", 0)
    }
    table = np.array([category_of_id.get(segment_id, ignore_index) for segment_id in ids.tolist()], dtype=np.int64)
    return table.take(index_map)
