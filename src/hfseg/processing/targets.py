# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Segmentation maps as training targets: checked, resized with their images, and padded."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

# Up to this id a histogram finds the ids of a map faster than sorting it.
_LARGEST_COUNTED_ID = 1 << 20


def make_segment_targets(
    segmentation_map: np.ndarray,
    instance_id_to_semantic_id: Mapping[int, int] | None = None,
    ignore_index: int | None = 255,
    do_reduce_labels: bool = False,
    num_labels: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Turns a segmentation map into a map of contiguous segment ids and the class of each segment.

    Without a table the map holds class ids, and each class is one segment. With a table it holds segment ids; ids
    that the table lacks are void.

    Args:
        segmentation_map: class ids or segment ids.
        instance_id_to_semantic_id: class of each segment id.
        ignore_index: class that is void (in the map, or as a value of the table).
        do_reduce_labels: whether class 0 is background (void) and all other classes are lowered by one; segment id 0
            is void then too.
        num_labels: number of classes, if known; checked.

    Shape: segmentation_map (H, W) integer; id map (H, W) int32 with 0 = void and ids 1..N; classes (N,) int64.

    Raises:
        ValueError: for class ids that are negative or not below `num_labels`.
    """
    if segmentation_map.size and 0 <= segmentation_map.min() and segmentation_map.max() <= _LARGEST_COUNTED_ID:
        counts = np.bincount(segmentation_map.ravel())
        ids = np.flatnonzero(counts)
        inverse = None
    else:
        ids, inverse = np.unique(segmentation_map, return_inverse=True)

    if instance_id_to_semantic_id is None:
        labels = ids.astype(np.int64)
        kept = np.ones(len(ids), dtype=bool)
    else:
        kept = np.array([int(segment_id) in instance_id_to_semantic_id for segment_id in ids], dtype=bool)
        labels = np.array([instance_id_to_semantic_id.get(int(segment_id), 0) for segment_id in ids], dtype=np.int64)
    if ignore_index is not None:
        kept &= labels != ignore_index
    if do_reduce_labels:
        kept &= labels != 0
        if instance_id_to_semantic_id is not None:
            kept &= ids != 0  # what no object covers, as in transformers
        labels = labels - 1
    wrong = kept & ((labels < 0) | (labels >= num_labels if num_labels is not None else False))
    if wrong.any():
        legal = f"0..{num_labels - 1}" if num_labels is not None else "0 and above"
        raise ValueError(
            f"Segmentation map holds class ids {labels[wrong].tolist()[:10]}; must be {legal}"
            + (f" and {ignore_index} for void" if ignore_index is not None else "")
            + ". Map them to the model's classes, or to void."
        )
    new_ids = np.where(kept, kept.cumsum(), 0).astype(np.int32)
    if inverse is not None:
        id_map = new_ids[inverse].reshape(segmentation_map.shape)
    else:
        lookup = np.zeros(len(counts), dtype=np.int32)
        lookup[ids] = new_ids
        id_map = lookup[segmentation_map]
    return id_map, labels[kept]


def resize_nearest(array: np.ndarray, height: int, width: int) -> np.ndarray:
    """Nearest-neighbor resize by pixel centers, for any integer type (Pillow's rule)."""
    if array.shape == (height, width):
        return array
    rows, columns = (_nearest_sources(*sides) for sides in zip(array.shape, (height, width)))
    return array[rows[:, None], columns]


def _nearest_sources(source: int, target: int) -> np.ndarray:
    # Pillow adds the step up instead of multiplying, which decides ties at pixel edges.
    steps = np.full(target, source / target)
    steps[0] *= 0.5
    return steps.cumsum().astype(np.int64).clip(max=source - 1)


def check_maps(maps: Sequence[np.ndarray], image_sizes: Sequence[tuple[int, int]]) -> None:
    """Raises a ValueError unless there is one map per image, of its size."""
    if len(maps) != len(image_sizes):
        raise ValueError(f"Got {len(maps)} segmentation maps for {len(image_sizes)} images; give one per image.")
    for index, (segmentation_map, size) in enumerate(zip(maps, image_sizes)):
        if segmentation_map.shape != tuple(size):
            raise ValueError(
                f"Segmentation map {index} is {segmentation_map.shape[0]} x {segmentation_map.shape[1]} pixels "
                f"(height x width), its image {size[0]} x {size[1]}; they must agree."
            )


def as_integer_maps(segmentation_maps: Any) -> list[np.ndarray]:
    """List of integer arrays (H, W) from PIL images, arrays or tensors, one, a list or a stack (B, H, W)."""
    if isinstance(segmentation_maps, (np.ndarray, Tensor)) and segmentation_maps.ndim == 3:
        segmentation_maps = list(segmentation_maps)
    elif not isinstance(segmentation_maps, (list, tuple)):
        segmentation_maps = [segmentation_maps]
    maps = []
    for index, segmentation_map in enumerate(segmentation_maps):
        if isinstance(segmentation_map, (str, os.PathLike)):
            raise TypeError(
                f"Segmentation map {index} is a path; open it (for example with PIL) so that ids stay exact."
            )
        array = segmentation_map.cpu().numpy() if isinstance(segmentation_map, Tensor) else np.asarray(segmentation_map)
        if array.ndim == 3 and 1 in (array.shape[0], array.shape[-1]):
            array = array.squeeze(0 if array.shape[0] == 1 else -1)
        if array.ndim != 2:
            raise ValueError(
                f"Segmentation map {index} has the shape {array.shape}, but must be (H, W). A COCO panoptic PNG is "
                "decoded by id = R + 256 * G + 65536 * B."
            )
        if array.dtype == bool:
            array = array.astype(np.uint8)
        if not np.issubdtype(array.dtype, np.integer):
            raise ValueError(
                f"Segmentation map {index} has the type {array.dtype}, but ids must be integers; convert it explicitly."
            )
        maps.append(array)
    return maps
