# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Panoptic segmentation of large images by overlapping tiles whose segments are joined.

Each tile is segmented on its own. Two segments of neighboring tiles, of one thing class, are the same object if, in
the strip that both tiles see, their masks have an IoU of at least `merge_iou`; segments of a stuff class are one
segment of the image. Joining is transitive and does not depend on the order of the tiles. A pixel of a strip belongs
to the tile whose middle is nearer, so that objects cut at a tile's rim are taken from the tile that sees more of them.
Parts of an object that no strip connects (hidden in between, in different tiles) stay apart.
"""

import itertools
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import torch

from ..results.incomplete import told_once
from ..results.segmentation_result import SegmentationResult
from .scores import Predict, check_size, image_size, pad_to_divisor, prepare
from .sliding_window import window_starts

__all__ = ["tiled_panoptic_segmentation"]


class _Joined:
    """Sets of segments that are one object (union-find)."""

    def __init__(self) -> None:
        self.parents: list[int] = []

    def add(self) -> int:
        self.parents.append(len(self.parents))
        return len(self.parents) - 1

    def root(self, node: int) -> int:
        while self.parents[node] != node:
            self.parents[node] = self.parents[self.parents[node]]
            node = self.parents[node]
        return node

    def join(self, one: int, other: int) -> None:
        # The earlier one founds the set, so that ids follow the tiles.
        first, second = sorted((self.root(one), self.root(other)))
        self.parents[second] = first


def _core_edges(starts: list[int], tile: int, length: int) -> list[int]:
    """Borders between what neighboring tiles own: the middle of their overlap."""
    middles = [(later + earlier + tile) // 2 for earlier, later in itertools.pairwise(starts)]
    return [0, *middles, length]


def _crop(image: Any, top: int, left: int, bottom: int, right: int) -> Any:
    if isinstance(image, torch.Tensor):
        return image[:, top:bottom, left:right]
    if isinstance(image, np.ndarray):
        return image[top:bottom, left:right]
    return image.crop((left, top, right, bottom))


def _same_objects(
    one: np.ndarray, other: np.ndarray, classes: list[int], things: list[bool], merge_iou: float
) -> list[tuple[int, int]]:
    """Pairs of nodes whose masks agree in a strip.

    Shape: one and other (h, w), node + 1 at every pixel, 0 = none.
    """
    first_ids, first = np.unique(one, return_inverse=True)
    second_ids, second = np.unique(other, return_inverse=True)
    counts = np.bincount(
        (first * np.int64(len(second_ids)) + second).ravel(), minlength=len(first_ids) * len(second_ids)
    )
    overlap = counts.reshape(len(first_ids), len(second_ids))
    union = overlap.sum(1)[:, None] + overlap.sum(0)[None] - overlap
    pairs = []
    for row, column in zip(*np.nonzero((overlap > 0) & (overlap >= merge_iou * union))):
        left, right = int(first_ids[row]) - 1, int(second_ids[column]) - 1
        if left >= 0 and right >= 0 and classes[left] == classes[right] and things[left]:
            pairs.append((left, right))
    return pairs


class _Parts:
    """Segments of tiles, each a node, and which of them are one object.

    Args:
        fused: Stuff classes, of which all segments are one.
    """

    def __init__(self, fused: Collection[int]) -> None:
        self.fused = fused
        self.joined = _Joined()
        self.classes: list[int] = []
        self.things: list[bool] = []
        self.scores: list[float] = []
        self.stuff_nodes: dict[int, int] = {}
        self.cut: list[str] = []

    def add(self, result: Any) -> np.ndarray:
        """Takes the segments of a tile in; returns its map of nodes, counted from 1. Shape: (h, w), int32."""
        segmentation = np.asarray(result["segmentation"].cpu())
        if message := getattr(result, "incomplete", ""):
            self.cut.append(message)
        table = np.zeros(int(max(segmentation.max(), 0)) + 1, dtype=np.int32)
        for segment in result["segments_info"]:
            node = self.joined.add()
            label = int(segment["label_id"])
            self.classes.append(label)
            self.things.append(label not in self.fused)
            self.scores.append(float(segment["score"]))
            if label in self.fused:
                self.joined.join(node, self.stuff_nodes.setdefault(label, node))
            table[segment["id"]] = node + 1
        return table[np.maximum(segmentation, 0)]

    def join(self, theirs: np.ndarray, mine: np.ndarray, merge_iou: float) -> None:
        """Joins what is one object in the strip that two tiles share."""
        for one, other in _same_objects(theirs, mine, self.classes, self.things, merge_iou):
            self.joined.join(one, other)

    def result(self, painted: np.ndarray) -> SegmentationResult:
        """Numbers the objects by a map of nodes. Shape: painted (H, W), int32."""
        areas = np.bincount(painted.ravel(), minlength=len(self.classes) + 1)
        lookup = np.zeros(len(self.classes) + 1, dtype=np.int32)
        segments: dict[int, dict[str, Any]] = {}
        for node in range(len(self.classes)):
            root = self.joined.root(node)
            area = int(areas[node + 1])
            if area and root not in segments:
                segments[root] = {
                    "id": len(segments) + 1,
                    "label_id": self.classes[root],
                    "was_fused": not self.things[root],
                    "score": 0.0,
                    "area": 0,
                }
            if area:
                segments[root]["area"] += area
        # Parts without a pixel of their own (the neighbor owns their side of the strip) still tell how sure it is.
        for node in range(len(self.classes)):
            root = self.joined.root(node)
            if root in segments:
                lookup[node + 1] = segments[root]["id"]
                segments[root]["score"] = max(segments[root]["score"], self.scores[node])
        cut = f"In {len(self.cut)} of the tiles: {self.cut[0]} Use smaller tiles." if self.cut else ""
        return SegmentationResult(torch.from_numpy(lookup[painted]), list(segments.values()), incomplete=cut)


def _shared_strip(
    mine: np.ndarray, place: tuple[int, int], theirs: np.ndarray, other: tuple[int, int], size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray] | None:
    """Cuts what two tiles share out of both: theirs, then mine; None if they share nothing.

    Args:
        mine, theirs: Maps of nodes.
        place, other: (top, left) of the tiles; the other is above or to the left.
        size: Of a tile.
    """
    (top, left), (other_top, other_left) = place, other
    first_row, last_row = top, min(other_top + size[0], top + size[0])
    first_column, last_column = max(left, other_left), min(left, other_left) + size[1]
    if first_row >= last_row or first_column >= last_column:
        return None
    return (
        theirs[first_row - other_top : last_row - other_top, first_column - other_left : last_column - other_left],
        mine[first_row - top : last_row - top, first_column - left : last_column - left],
    )


def _checked_tiles(
    tile: Any, overlap: Any, merge_iou: float, batch_size: int
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Completes and checks the sizes of tiles and of what they share, and the other numbers."""
    tile = check_size("tile", tile)
    overlap = tuple(side // 4 for side in tile) if overlap is None else overlap
    overlap = (overlap, overlap) if isinstance(overlap, int) else tuple(overlap)
    if any(not 0 <= shared < side for shared, side in zip(overlap, tile)):
        raise ValueError(f"overlap {overlap} must be 0 or more and smaller than the tile, {tile}.")
    if not 0 < merge_iou <= 1:
        raise ValueError(f"merge_iou is {merge_iou}; it must lie above 0 and not above 1.")
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; it must be 1 or more.")
    return tile, overlap


def _places(
    image: tuple[int, int], tile: tuple[int, int], overlap: tuple[int, int]
) -> tuple[list[list[int]], tuple[int, int]]:
    """Finds where tiles begin, by rows and columns, and their size, which is at most the image's."""
    starts = [window_starts(length, side, side - shared) for length, side, shared in zip(image, tile, overlap)]
    return starts, (min(tile[0], image[0]), min(tile[1], image[1]))


def _fused(given: Collection[int] | None, image_processor: Any, outputs: Any) -> set[int]:
    """Stuff classes, as the image processor's post-processing takes them."""
    if given is not None:
        return set(given)
    rule = getattr(image_processor, "stuff_classes", None)
    found = getattr(image_processor, "label_ids_to_fuse", None) if rule is None else rule(outputs)
    return set(found or ())


@told_once("tiles")
@torch.no_grad()
def tiled_panoptic_segmentation(
    image: Any,
    predict: Predict,
    image_processor: Any,
    *,
    tile: Any,
    overlap: Any = None,
    merge_iou: float = 0.5,
    label_ids_to_fuse: Collection[int] | None = None,
    batch_size: int = 1,
    do_resize: bool = False,
    post_process: Callable[..., Any] | None = None,
    **thresholds: float,
) -> SegmentationResult:
    """Panoptic segments of an image of any size, from overlapping tiles.

    Args:
        image: PIL image, array (H, W, 3) or tensor (3, H, W).
        predict: Function from pixel values (B, 3, ., .) to outputs of a mask-classification model.
        image_processor: The model's; its `post_process_panoptic_segmentation` makes the segments of a tile.
        tile: Height and width of a tile in the image's pixels (or one number). An image that is not larger than a
            tile is segmented whole.
        overlap: Height and width that neighboring tiles share; default: a quarter of a tile. It should exceed the
            size of common objects' parts from which the model can tell them.
        merge_iou: Smallest IoU, in the shared strip, of two masks of one object; above 0, at most 1.
        label_ids_to_fuse: Stuff classes; default: those of the model that gives the outputs, else the processor's.
        batch_size: Tiles per call of `predict`.
        do_resize: False segments tiles at the image's own scale; True lets the processor resize every tile by its
            rule, as if it were an image.
        post_process: Makes the segments of a tile; default: `image_processor.post_process_panoptic_segmentation`.
        **thresholds: `threshold`, `mask_threshold`, `overlap_mask_area_threshold` of the processor.

    Returns:
        As `post_process_panoptic_segmentation`: ids from 1 without gaps, in the order of the tiles. The score of a
        joined object is the best of its parts, its area the number of its pixels.

    Shape:
        segmentation (H, W), int32.

    Raises:
        ValueError: Sizes or `merge_iou` that are not legal.
    """
    tile, overlap = _checked_tiles(tile, overlap, merge_iou, batch_size)
    post_process = post_process or image_processor.post_process_panoptic_segmentation
    height, width = image_size(image)
    (tops, lefts), size = _places((height, width), tile, overlap)
    row_edges, column_edges = _core_edges(tops, size[0], height), _core_edges(lefts, size[1], width)
    resize = {} if do_resize else {"do_resize": False}
    parts, settings = _Parts(set()), dict[str, Any](**thresholds)
    painted = np.zeros((height, width), dtype=np.int32)  # node + 1
    above: list[np.ndarray] = []  # tiles of the row before, as maps of nodes
    for row, top in enumerate(tops):
        current: list[np.ndarray] = []
        for first in range(0, len(lefts), batch_size):
            places = [(top, left) for left in lefts[first : first + batch_size]]
            inputs = [
                prepare(_crop(image, *place, place[0] + size[0], place[1] + size[1]), image_processor, **resize)
                for place in places
            ]
            outputs = predict(pad_to_divisor(torch.cat(inputs), image_processor))
            if "label_ids_to_fuse" not in settings:
                parts.fused = settings["label_ids_to_fuse"] = _fused(label_ids_to_fuse, image_processor, outputs)
            settings["image_sizes"] = [(inputs[0].shape[-2], inputs[0].shape[-1])] * len(places)
            results = post_process(outputs, target_sizes=[size] * len(places), **settings)
            current += [parts.add(result) for result in results]
        for column, left in enumerate(lefts):
            neighbors = [(top, lefts[column - 1], current[column - 1])] if column else []
            neighbors += [(tops[row - 1], *one) for one in list(zip(lefts, above))[max(column - 1, 0) : column + 2]]
            for other_top, other_left, nodes in neighbors:
                shared = _shared_strip(current[column], (top, left), nodes, (other_top, other_left), size)
                if shared is not None:
                    parts.join(*shared, merge_iou)
            rows = slice(row_edges[row], row_edges[row + 1])
            columns = slice(column_edges[column], column_edges[column + 1])
            painted[rows, columns] = current[column][
                rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
            ]
        above = current
    return parts.result(painted)
