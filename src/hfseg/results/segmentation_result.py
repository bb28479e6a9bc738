# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Compact segmentation results: one id map and a table; masks, boxes, files and tables when they are asked for."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..files.images import load_image
from ..files.writing import replacing, write_json
from .run_lengths import compress_all, counts_of_runs, decode_run_lengths, encode_run_lengths
from .runs import Runs, box_of_runs, runs_of_bits, runs_of_ids
from .segment import Segment

__all__ = ["LazyMasks", "SegmentationResult", "decode_run_lengths", "encode_run_lengths"]


class SegmentationResult(dict):
    """Segments of one image: `{"segmentation": (H, W) tensor, "segments_info": [{"id", "label_id", "score", ...}]}`.

    It is the dict that transformers' post-processing returns, and every consumer of that works; only its length is the
    number of segments. On top of it masks are drawn when asked for, and instances may overlap: their masks are then
    kept as bits, while the id map shows the best instance at each pixel. `segments` are views with `.label`, `.score`,
    `.box`, `.area` and `.mask`; `plot` and `save` draw, `to_coco`, `to_supervision` and `to_pandas` hand over.

    Args:
        segmentation: segment id of each pixel, 0 for none.
        segments_info: one entry per segment.
        packed_masks: bits of overlapping masks, packed along the width (first pixel highest); None if the id map
            says everything.
        mask_indices: row of `packed_masks` that belongs to each segment; default: in order.
        image: image that the segments are of, for `plot` and `save`; default: none.
        id2label: names of the classes, added to `segments_info` as `"label"`.
        incomplete: why there may be more objects than segments (a limit of the model or of the settings was reached)
            and what helps; empty if nothing was left out. It is an attribute of the result, too.

    Shape: segmentation (H, W) integer; packed_masks (M, H, ceil(W / 8)) uint8; mask_indices (N,).

    Example:
        >>> result = SegmentationResult(torch.tensor([[0, 1, 1], [2, 1, 1]]), [{"id": 1, "label_id": 7, "score": 0.9}])
        >>> result.run_length_masks()
        [{'size': [2, 3], 'counts': [2, 4]}]
        >>> result.segments[0].box, len(result)
        ((1.0, 0.0, 3.0, 2.0), 1)
    """

    def __init__(
        self,
        segmentation: Tensor,
        segments_info: list[dict[str, Any]],
        packed_masks: Tensor | None = None,
        mask_indices: Tensor | Sequence[int] | None = None,
        image: Image.Image | None = None,
        id2label: Mapping[int, str] | None = None,
        incomplete: str = "",
    ):
        super().__init__(segmentation=segmentation, segments_info=segments_info)
        self.incomplete = incomplete
        self.packed_masks = packed_masks
        self.mask_indices = [int(index) for index in (mask_indices if mask_indices is not None else ())]
        if packed_masks is not None and mask_indices is None:
            self.mask_indices = list(range(len(segments_info)))
        self.image = image
        if id2label is not None:
            for segment in segments_info:
                segment["label"] = str(id2label.get(int(segment["label_id"]), segment["label_id"]))

    @classmethod
    def from_masks(
        cls,
        masks: Sequence[np.ndarray],
        label_ids: Sequence[int],
        scores: Sequence[float | None],
        size: tuple[int, int],
        id2label: Mapping[int, str] | None = None,
    ) -> "SegmentationResult":
        """Joins boolean masks, which may overlap, to one result; at each pixel the id map shows the best.

        Args:
            masks: of each segment.
            label_ids: of each segment.
            scores: of each segment.
            size: height and width.
            id2label: names of the classes.

        Shape: masks each (H, W).
        """
        segmentation = np.zeros(size, dtype=np.int32)
        for index in sorted(range(len(masks)), key=lambda index: (scores[index] or 0.0, -index)):
            np.putmask(segmentation, masks[index], index + 1)  # the best last, on top
        segments: list[dict[str, Any]] = [
            {"id": index + 1, "label_id": int(label), "score": None if score is None else float(score)}
            for index, (label, score) in enumerate(zip(label_ids, scores))
        ]
        packed = None
        if sum(int(np.count_nonzero(mask)) for mask in masks) > int(np.count_nonzero(segmentation)):
            packed = torch.from_numpy(np.stack([np.packbits(mask, axis=-1) for mask in masks]))
        return cls(torch.from_numpy(segmentation), segments, packed, id2label=id2label)

    @classmethod
    def from_class_map(
        cls, class_map: Tensor | np.ndarray, id2label: Mapping[int, str] | None = None
    ) -> "SegmentationResult":
        """Result of a map of classes: one segment per class, with id = class + 1 in every image and no score.

        Negative values, and classes that `id2label` lacks, are void.

        Shape: class_map (H, W) integer.
        """
        classes = torch.as_tensor(class_map).cpu().to(torch.int64)
        low = int(classes.min()) if classes.numel() else 0
        present = (torch.bincount((classes - min(low, 0)).flatten()).nonzero().flatten() + min(low, 0)).tolist()
        present = [label for label in present if label >= 0 and (id2label is None or label in id2label)]
        table = torch.zeros(max(int(classes.max()) if classes.numel() else 0, 0) + 2, dtype=torch.int32)
        for label in present:
            table[label + 1] = label + 1
        segmentation = table[(classes + 1).clamp_(min=0)]
        segments = [{"id": label + 1, "label_id": label, "score": None} for label in present]
        return cls(segmentation, segments, id2label=id2label)

    def cpu(self) -> "SegmentationResult":
        """Brings id map and bits to main memory, once; returns the result itself."""
        self["segmentation"] = self["segmentation"].cpu()
        self.packed_masks = None if self.packed_masks is None else self.packed_masks.cpu()
        return self

    def __len__(self) -> int:
        """Number of segments."""
        return len(self["segments_info"])

    def __bool__(self) -> bool:
        return True

    @property
    def segments(self) -> list[Segment]:
        """Views of the segments, in the order of `segments_info`."""
        cache: dict[int, Runs] = {}

        def runs(index: int) -> Runs:
            if self.packed_masks is None:
                if not cache:
                    cache.update(enumerate(self._runs()))
                return cache[index]
            if index not in cache:
                cache[index] = self._runs_of_row(self.mask_indices[index])
            return cache[index]

        return [Segment(self, index, runs) for index in range(len(self))]

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
        return self._encode(self._runs(), compressed)

    def _encode(self, runs: Sequence[Runs], compressed: bool) -> list[dict[str, Any]]:
        counts = [counts_of_runs(starts, ends, self.size[0] * self.size[1]) for starts, ends in runs]
        coded = compress_all(counts) if compressed else [own.tolist() for own in counts]
        return [{"size": list(self.size), "counts": own} for own in coded]

    def to_coco(
        self,
        image_id: int | str = 1,
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
        runs = self._runs()
        masks = self._encode(runs, compressed)
        for index, ((starts, ends), segment) in enumerate(zip(runs, self["segments_info"])):
            label_id = segment["label_id"]
            if category_ids is not None and label_id not in category_ids:
                raise ValueError(f"category_ids has no entry for label id {label_id}; it knows {sorted(category_ids)}.")
            entry = {
                "image_id": image_id,
                "category_id": label_id if category_ids is None else category_ids[label_id],
                "segmentation": masks[index],
                "area": int((ends - starts).sum()),
                "bbox": box_of_runs(starts, ends, height),
                "score": segment.get("score"),
                "iscrowd": 0,
            }
            if first_id is not None:
                entry["id"] = first_id + index
            entries.append(entry)
        return entries

    def to_supervision(self) -> Any:
        """The segments as `supervision.Detections`, with boolean masks and class names in `data["class_name"]`.

        Raises:
            ImportError: if supervision is not installed.
        """
        try:
            from supervision import Detections
        except ImportError as error:
            raise ImportError("to_supervision needs the package supervision: pip install supervision") from error
        segments = self.segments
        if not segments:
            return Detections.empty()
        return Detections(
            xyxy=np.array([segment.box for segment in segments], dtype=np.float32),
            mask=self.binary_masks().numpy(),
            confidence=np.array([1.0 if s.score is None else s.score for s in segments], dtype=np.float32),
            class_id=np.array([segment.label_id for segment in segments]),
            data={"class_name": np.array([segment.label for segment in segments])},
        )

    def to_pandas(self) -> Any:
        """The segments as a table: id, label, label_id, score, area, and the box in x0, y0, x1, y1.

        Raises:
            ImportError: if pandas is not installed.
        """
        try:
            from pandas import DataFrame
        except ImportError as error:
            raise ImportError("to_pandas needs the package pandas: pip install pandas") from error
        names = ("id", "label", "label_id", "score", "area")
        rows = [
            {**{name: getattr(segment, name) for name in names}, **dict(zip(("x0", "y0", "x1", "y1"), segment.box))}
            for segment in self.segments
        ]
        return DataFrame(rows, columns=[*names, "x0", "y0", "x1", "y1"])

    def plot(self, image: Any = None, id2label: Mapping[int, str] | None = None, **options: Any) -> Image.Image:
        """Draws the segments over their image, at its size; each object has its own color.

        Args:
            image: PIL image, array, tensor or path of a local file; default: the result's own, else white.
            id2label: names of the classes; default: those in `segments_info`.
            **options: see `hfseg.results.drawing.overlay`; `legend=True` adds names and colors beside the image.
        """
        from .drawing import overlay  # only drawing needs it

        if image is None:
            image = self.image if self.image is not None else Image.new("RGB", self.size[::-1], "white")
        if isinstance(image, (str, os.PathLike)):
            image = load_image(image)
        options = {"minimum_side": 0, "color_by": "instance", **options}
        return overlay(image, self["segmentation"], self["segments_info"], id2label, **options)

    def save(self, path: str | os.PathLike[str], image: Any = None, **options: Any) -> Path:
        """Writes the drawing of `plot`, or for a name in .json the entries of `to_coco`; returns the path.

        Args:
            path: of the file; its ending says the format.
            image: see `plot`.
            **options: see `plot`.

        Raises:
            ValueError: for an ending that no image has.
        """
        path = Path(path)
        if path.suffix.lower() == ".json":
            return write_json(path, self.to_coco(image_id=1))
        if path.suffix.lower() not in Image.registered_extensions():
            raise ValueError(f"{path.name} must end in .png, .jpg, another ending of images, or .json.")
        drawn = self.plot(image, **options)
        with replacing(path) as temporary:
            fast: dict[str, Any] = {"compress_level": 1} if path.suffix.lower() == ".png" else {}
            drawn.save(temporary, **fast)
        return path

    def overlay(self, image: Image.Image, id2label: Mapping[int, str] | None = None) -> Image.Image:
        """Draws the segments over the image they belong to; small images are enlarged. See `plot`."""
        return self.plot(image, id2label, minimum_side=512, color_by="class")

    def _runs_of_row(self, row: int) -> Runs:
        assert self.packed_masks is not None
        return runs_of_bits(self.packed_masks[row].cpu().numpy(), self.size[1])

    def _runs(self) -> list[Runs]:
        """Start and end (exclusive) of each segment's runs in column-major order."""
        if self.packed_masks is not None:
            runs = {row: self._runs_of_row(row) for row in dict.fromkeys(self.mask_indices)}
            return [runs[row] for row in self.mask_indices]
        ids = [int(segment["id"]) for segment in self["segments_info"]]
        return runs_of_ids(self["segmentation"].cpu().numpy(), ids)


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
