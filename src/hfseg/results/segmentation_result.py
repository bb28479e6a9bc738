# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Compact segmentation results: one id map and a table, masks drawn on demand, run-length coded, COCO entries."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .run_lengths import compress_counts, counts_of_runs, decode_run_lengths, encode_run_lengths, mask_runs

__all__ = ["LazyMasks", "SegmentationResult", "decode_run_lengths", "encode_run_lengths"]


class SegmentationResult(dict):
    """Segments of one image: `{"segmentation": (H, W) tensor, "segments_info": [{"id", "label_id", "score", ...}]}`.

    It is the dict that transformers' post-processing returns, and every consumer of that works. On top of it masks are
    drawn when asked for, and instances may overlap: their masks are then kept as bits, while the id map shows the best
    instance at each pixel.

    Args:
        segmentation: segment id of each pixel, 0 for none.
        segments_info: one entry per segment.
        packed_masks: bits of overlapping masks, packed along the width (first pixel highest); None if the id map
            says everything.
        mask_indices: row of `packed_masks` that belongs to each segment; default: in order.

    Shape: segmentation (H, W) integer; packed_masks (M, H, ceil(W / 8)) uint8; mask_indices (N,).

    Example:
        >>> result = SegmentationResult(torch.tensor([[0, 1, 1], [2, 1, 1]]), [{"id": 1, "label_id": 7, "score": 0.9}])
        >>> result.run_length_masks()
        [{'size': [2, 3], 'counts': [2, 4]}]
    """

    def __init__(
        self,
        segmentation: Tensor,
        segments_info: list[dict[str, Any]],
        packed_masks: Tensor | None = None,
        mask_indices: Tensor | Sequence[int] | None = None,
    ):
        super().__init__(segmentation=segmentation, segments_info=segments_info)
        self.packed_masks = packed_masks
        self.mask_indices = [int(index) for index in (mask_indices if mask_indices is not None else ())]
        if packed_masks is not None and mask_indices is None:
            self.mask_indices = list(range(len(segments_info)))

    @property
    def segmentation(self) -> Tensor:
        """Id map (H, W)."""
        return self["segmentation"]

    @property
    def segments_info(self) -> list[dict[str, Any]]:
        """One entry per segment."""
        return self["segments_info"]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        height, width = self["segmentation"].shape
        return height, width

    def mask(self, index: int) -> np.ndarray:
        """Boolean mask (H, W) of the segment at a position of `segments_info`."""
        if self.packed_masks is None:
            return self["segmentation"].cpu().numpy() == self["segments_info"][index]["id"]
        bits = self.packed_masks[self.mask_indices[index]].cpu().numpy()
        return np.unpackbits(bits, axis=1, count=self.size[1]).view(bool)

    def binary_masks(self) -> Tensor:
        """All masks as one boolean tensor (N, H, W); this is the large form, prefer `mask` or `run_length_masks`."""
        masks = torch.zeros((len(self["segments_info"]), *self.size), dtype=torch.bool)
        for index in range(len(masks)):
            masks[index] = torch.from_numpy(self.mask(index))
        return masks

    @property
    def masks(self) -> "LazyMasks":
        """Sequence of PIL masks ("L", 0 or 255), each drawn when it is accessed."""
        return LazyMasks(self)

    def run_length_masks(self, compressed: bool = False) -> list[dict[str, Any]]:
        """COCO run-length encoding of each mask: `{"size": [H, W], "counts": ...}`.

        Args:
            compressed: False gives the list of counts; True COCO's string, as pycocotools writes it.
        """
        pixels = self.size[0] * self.size[1]
        encoded = []
        for starts, ends in self._runs():
            counts = counts_of_runs(starts, ends, pixels)
            encoded.append(
                {"size": list(self.size), "counts": compress_counts(counts) if compressed else counts.tolist()}
            )
        return encoded

    def to_coco(
        self,
        image_id: int | str,
        category_ids: Mapping[int, int] | None = None,
        first_id: int | None = None,
        compressed: bool = True,
    ) -> list[dict[str, Any]]:
        """Entries in COCO's results format, ready for `json.dump` and COCO evaluation.

        Args:
            image_id: id of the image in the annotation file.
            category_ids: category id of each label id, where they differ (COCO has gaps); default: equal.
            first_id: if given, entries get consecutive `id`s from here, as an annotation file needs.
            compressed: form of the masks, see `run_length_masks`.

        Returns:
            One `{"image_id", "category_id", "segmentation", "area", "bbox", "score", "iscrowd"}` per segment; area in
            pixels, bbox as [x, y, width, height] in pixels.

        Raises:
            ValueError: if `category_ids` lacks a label id that occurs.
        """
        height = self.size[0]
        entries = []
        masks = self.run_length_masks(compressed)
        for index, ((starts, ends), segment) in enumerate(zip(self._runs(), self["segments_info"])):
            label_id = segment["label_id"]
            if category_ids is not None and label_id not in category_ids:
                raise ValueError(f"category_ids has no entry for label id {label_id}; it knows {sorted(category_ids)}.")
            entry = {
                "image_id": image_id,
                "category_id": label_id if category_ids is None else category_ids[label_id],
                "segmentation": masks[index],
                "area": int((ends - starts).sum()),
                "bbox": _bounding_box(starts, ends, height),
                "score": segment.get("score"),
                "iscrowd": 0,
            }
            if first_id is not None:
                entry["id"] = first_id + index
            entries.append(entry)
        return entries

    def overlay(self, image: Image.Image, id2label: Mapping[int, str] | None = None) -> Image.Image:
        """Draws the segments over the picture they belong to."""
        from . import drawing as visualization  # only drawing needs it

        return visualization.overlay(image, self["segmentation"], self["segments_info"], id2label)

    def _runs(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Start and end (exclusive) of each segment's runs in column-major order."""
        if self.packed_masks is not None:
            runs: dict[int, tuple[np.ndarray, np.ndarray]] = {}
            for index, row in enumerate(self.mask_indices):
                if row not in runs:
                    runs[row] = mask_runs(self.mask(index))
            return [runs[row] for row in self.mask_indices]
        # All segments from one pass over the id map.
        ids = self["segmentation"].cpu().numpy().T.ravel()
        starts = np.flatnonzero(np.concatenate([[ids.size > 0], ids[1:] != ids[:-1]]))
        ends = np.append(starts[1:], ids.size)
        run_ids = ids[starts]
        result = []
        for segment in self["segments_info"]:
            selected = run_ids == segment["id"]
            result.append((starts[selected], ends[selected]))
        return result


class LazyMasks(Sequence):
    """PIL masks ("L", 0 or 255) of a `SegmentationResult`, drawn on access."""

    def __init__(self, result: SegmentationResult):
        self._result = result

    def __len__(self) -> int:
        return len(self._result["segments_info"])

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"There are {len(self)} masks, asked for number {index}.")
        return Image.fromarray(self._result.mask(index % len(self)).view(np.uint8) * np.uint8(255))

    def __iter__(self) -> Iterator[Image.Image]:
        return (self[index] for index in range(len(self)))


def _bounding_box(starts: np.ndarray, ends: np.ndarray, height: int) -> list[float]:
    if len(starts) == 0:
        return [0.0, 0.0, 0.0, 0.0]
    first_column, last_column = starts // height, (ends - 1) // height
    spans_columns = last_column > first_column
    top = np.where(spans_columns, 0, starts % height).min()
    bottom = np.where(spans_columns, height - 1, (ends - 1) % height).max()
    left, right = first_column.min(), last_column.max()
    return [float(left), float(top), float(right - left + 1), float(bottom - top + 1)]
