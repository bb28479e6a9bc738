# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What image processors of segmentation models share, whatever touches their pixels.

`UniversalSegmentationProcessing` (models that predict masks per query) and `SemanticSegmentationProcessing` (models
that predict class logits per pixel) are mixed in before a backend of `transformers.image_processing_backends`. The
backend class resizes and normalises images; sizes, padding rules, targets, checks and post-processing live here.
Nothing here imports torchvision.
"""

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers.image_processing_utils import BatchFeature
from transformers.image_utils import (
    IMAGENET_DEFAULT_MEAN,
    IMAGENET_DEFAULT_STD,
    ChannelDimension,
    PILImageResampling,
    SizeDict,
)
from transformers.utils import TensorType, logging

from . import postprocess
from .images import check_finite, convert_to_rgb, load_image, sixteen_bit_to_eight, stretch_contrast
from .results import SegmentationResult

try:
    from transformers.image_processing_outputs import SemanticSegmentationPostProcessorOutput
except ImportError:  # transformers before the class existed: the same container under its base class
    SemanticSegmentationPostProcessorOutput = BatchFeature  # type: ignore[assignment,misc]

logger = logging.get_logger(__name__)

__all__ = [
    "SegmentationProcessing",
    "SemanticSegmentationProcessing",
    "UniversalSegmentationProcessing",
    "make_segment_targets",
    "resized_size",
]

# Up to this id a histogram finds the ids of a map faster than sorting it.
_LARGEST_COUNTED_ID = 1 << 20


def resized_size(height: int, width: int, size: Any) -> tuple[int, int]:
    """Height and width after the test-time resize.

    With a shortest edge the aspect ratio is kept and sides are rounded half up, `int(scale * side + 0.5)`, as in
    detectron2 (transformers truncates, which differs by one pixel for a third of all sizes). No side is below 1.

    Args:
        height: of the image, in pixels.
        width: of the image, in pixels.
        size: `shortest_edge` with or without `longest_edge`, `longest_edge`, `height` and `width`, or `max_height`
            and `max_width` (as a dict or a transformers `SizeDict`).

    Raises:
        ValueError: for other keys.
    """

    def value(key: str) -> int | None:
        return size.get(key) if isinstance(size, Mapping) else getattr(size, key, None)

    if value("height") and value("width"):
        return int(value("height")), int(value("width"))  # type: ignore[arg-type]
    shortest, longest = value("shortest_edge"), value("longest_edge")
    if shortest:
        scale = shortest / min(height, width)
        # The shorter side is exact; the order of operations is the authors', so that rounding agrees.
        new_height, new_width = (shortest, scale * width) if height < width else (scale * height, shortest)
        if longest and max(new_height, new_width) > longest:
            scale = longest / max(new_height, new_width)
            new_height, new_width = new_height * scale, new_width * scale
    elif longest:
        scale = longest / max(height, width)
        new_height, new_width = height * scale, width * scale
    elif value("max_height") and value("max_width"):
        scale = min(value("max_height") / height, value("max_width") / width)  # type: ignore[operator]
        new_height, new_width = height * scale, width * scale
    else:
        raise ValueError(
            f"size {size} is not understood; give shortest_edge (and longest_edge), longest_edge, height and width, or "
            "max_height and max_width."
        )
    return max(1, int(new_height + 0.5)), max(1, int(new_width + 0.5))


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
        do_reduce_labels: whether class 0 is background (void) and all other classes are lowered by one.
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
        labels = labels - 1
    wrong = kept & ((labels < 0) | (labels >= num_labels if num_labels is not None else False))
    if wrong.any():
        legal = f"0..{num_labels - 1}" if num_labels is not None else "0 and above"
        raise ValueError(
            f"Segmentation map holds class ids {labels[wrong].tolist()[:10]}; legal are {legal}"
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


def _resize_nearest(array: np.ndarray, height: int, width: int) -> np.ndarray:
    """Nearest-neighbour resize by pixel centres, for any integer type (Pillow's rule)."""
    if array.shape == (height, width):
        return array
    rows, columns = (_nearest_sources(*sides) for sides in zip(array.shape, (height, width)))
    return array[rows[:, None], columns]


def _nearest_sources(source: int, target: int) -> np.ndarray:
    # Pillow adds the step up instead of multiplying, which decides ties at pixel edges.
    steps = np.full(target, source / target)
    steps[0] *= 0.5
    return steps.cumsum().astype(np.int64).clip(max=source - 1)


class SegmentationProcessing:
    """Mixin of image processors for segmentation models: reads and checks images, and knows the padded size.

    Attributes:
        size: see `resized_size`.
        size_divisor: the batch is padded at the right and bottom with zeros, after normalisation, to a multiple of it.
        ignore_index: class id that is void in semantic maps.
        do_reduce_labels: class 0 of maps is background and other classes are lowered by one.
        num_labels: number of classes, if targets should be checked against it.
    """

    resample = PILImageResampling.BILINEAR
    image_mean = IMAGENET_DEFAULT_MEAN
    image_std = IMAGENET_DEFAULT_STD
    default_to_square = False
    do_convert_rgb = True
    do_resize = True
    do_rescale = True
    do_normalize = True
    do_pad = True
    size_divisor = 32
    ignore_index = 255
    do_reduce_labels = False
    num_labels = None
    model_input_names = ["pixel_values"]
    # Tells hfseg's pipeline that thresholds are this processor's business and that batches are grouped by size.
    owns_postprocessing_defaults = True

    def fetch_images(self, images: Any) -> Any:
        """Loads local paths safely (never a URL); image objects pass through."""
        if isinstance(images, (str, os.PathLike)):
            return load_image(images)
        if isinstance(images, (list, tuple)):
            return [self.fetch_images(image) for image in images]
        return super().fetch_images(images)  # type: ignore[misc]

    def process_image(
        self, image: Any, do_convert_rgb: bool | None = None, input_data_format: Any = None, **kwargs: Any
    ) -> Any:
        """Converts one image to the backend's channel-first form, after checking it."""
        if hasattr(image, "mode") and hasattr(image, "convert"):  # PIL
            if min(image.size) < 1:
                raise ValueError(f"Image has no pixels: its size is {image.size[0]} x {image.size[1]}.")
            if do_convert_rgb:
                image = convert_to_rgb(image)
        elif isinstance(image, (np.ndarray, Tensor)):
            if 0 in image.shape:
                raise ValueError(f"Image has no pixels: its shape is {tuple(image.shape)}.")
            check_finite(image)
            if image.dtype in (np.uint16, torch.uint16):
                image = sixteen_bit_to_eight(image if isinstance(image, np.ndarray) else image.cpu().numpy())
            if input_data_format is None and image.ndim == 3 and image.shape[0] in (1, 4) and image.shape[-1] == 3:
                # RGB of height 1 or 4; transformers would take the rows for channels.
                input_data_format = ChannelDimension.LAST
        channels_first = super().process_image(  # type: ignore[misc]
            image, do_convert_rgb=do_convert_rgb, input_data_format=input_data_format, **kwargs
        )
        if do_convert_rgb and channels_first.shape[0] == 1:
            # Older transformers releases leave grey arrays as they are.
            repeats = (3, 1, 1)
            return (
                channels_first.repeat(*repeats)
                if isinstance(channels_first, Tensor)
                else np.tile(channels_first, repeats)
            )
        return channels_first

    def padded_size(
        self, sizes: Sequence[tuple[int, int]], size_divisor: int | None, pad_size: SizeDict | None = None
    ) -> tuple[int, int]:
        """Height and width of the batch: `pad_size`, or the largest of `sizes` rounded up to `size_divisor`.

        Raises:
            ValueError: if an image is larger than `pad_size`.
        """
        height, width = max(size[0] for size in sizes), max(size[1] for size in sizes)
        if pad_size is not None:
            pad_height, pad_width = pad_size.height or 0, pad_size.width or 0
            if height > pad_height or width > pad_width:
                raise ValueError(
                    f"pad_size {dict(pad_size)} is smaller than the resized batch of {height} x {width} pixels."
                )
            return pad_height, pad_width
        divisor = size_divisor or 1
        return math.ceil(height / divisor) * divisor, math.ceil(width / divisor) * divisor


class UniversalSegmentationProcessing(SegmentationProcessing):
    """Mixin of image processors for models that predict (class logits, mask logits) per query.

    Attributes beyond those of `SegmentationProcessing`:
        size: shortest edge 800, longest at most 1333.
        label_ids_to_fuse: ids of stuff classes: fused in panoptic results, left out of instance results.
        threshold, mask_threshold, overlap_mask_area_threshold: of panoptic results, see
            `hfseg.postprocess.panoptic_segmentation`. They are saved with the processor.
        num_instances: (query, class) pairs looked at for instance results.
        suppress_duplicates: in panoptic and instance results, a thing gives way to a better one that covers half of its
            mask, see `hfseg.postprocess.distinct_queries`.
        stretch_contrast: every image is brought to the full range of intensities first, as very dark microscopy needs;
            see `hfseg.images.stretch_contrast`. For 8-bit images.
        min_segment_area: things of fewer pixels (of the result) are dropped from panoptic and instance results.
        mask_stride: padded input size divided by the size of the mask logits.
    """

    size = {"shortest_edge": 800, "longest_edge": 1333}
    label_ids_to_fuse = None
    threshold = 0.8
    mask_threshold = 0.5
    overlap_mask_area_threshold = 0.8
    num_instances = 100
    suppress_duplicates = False
    min_segment_area = 0
    stretch_contrast = False
    mask_stride = 4

    # ---------------------------------------------------------------------------------------------- inputs
    def preprocess(
        self,
        images: Any,
        segmentation_maps: Any = None,
        instance_id_to_semantic_id: Sequence[Mapping[int, int]] | Mapping[int, int] | None = None,
        **kwargs: Any,
    ) -> BatchFeature:
        """Turns images, and optionally their segmentation maps, into a padded batch for the network.

        Args:
            images: PIL images, arrays, tensors or paths of local files, one or a list.
            segmentation_maps: class-id or segment-id maps of the same sizes, one or a list (PIL images with one
                integer channel, or integer arrays (H, W)).
            instance_id_to_semantic_id: class of each segment id, for all maps or one table per map. Ids it lacks are
                void. Without it maps hold class ids.
            **kwargs: any attribute of the processor, for this call only.

        Returns:
            `pixel_values` (B, 3, H, W) float; with maps also `mask_labels`, a list of int32 id maps (H, W) with
            ids 1..N (0 = nothing or padding), and `class_labels`, a list of int64 (N,).

        Raises:
            ValueError: for empty input, NaN or infinite pixels, maps that are not integer, of another size than their
                image or in another number, and class ids out of range.
        """
        if isinstance(images, (list, tuple)) and len(images) == 0:
            raise ValueError("The list of images is empty; give at least one image.")
        if segmentation_maps is None and instance_id_to_semantic_id is not None:
            raise ValueError("instance_id_to_semantic_id was given without segmentation_maps.")
        return super().preprocess(images, segmentation_maps, instance_id_to_semantic_id, **kwargs)  # type: ignore[misc]

    def stretched(self, images: list[Any]) -> list[Any]:
        """Stretches the contrast of channel-first images, tensors or arrays.

        Raises:
            ValueError: for images that are not 8-bit.
        """
        results = []
        for index, image in enumerate(images):
            if image.dtype not in (torch.uint8, np.uint8):
                raise ValueError(
                    f"stretch_contrast needs 8-bit images, but image {index} has the type {image.dtype}: give uint8, or "
                    "set stretch_contrast=False."
                )
            if isinstance(image, Tensor):
                results.append(torch.from_numpy(stretch_contrast(image.cpu().numpy())).to(image.device))
            else:
                results.append(stretch_contrast(image))
        return results

    def segment_targets(
        self,
        segmentation_maps: Any,
        instance_id_to_semantic_id: Sequence[Mapping[int, int]] | Mapping[int, int] | None,
        image_sizes: Sequence[tuple[int, int]],
        resized_sizes: Sequence[tuple[int, int]],
        padded_size: tuple[int, int] | None,
        ignore_index: int | None,
        do_reduce_labels: bool,
        num_labels: int | None,
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Padded id maps (H, W) int32 and class ids (N,) int64, one per image."""
        maps = _as_integer_maps(segmentation_maps)
        _check_maps(maps, image_sizes)
        if instance_id_to_semantic_id is None or isinstance(instance_id_to_semantic_id, Mapping):
            tables = [instance_id_to_semantic_id] * len(maps)
        else:
            tables = list(instance_id_to_semantic_id)
            if len(tables) != len(maps):
                raise ValueError(
                    f"instance_id_to_semantic_id has {len(tables)} tables for {len(maps)} segmentation maps."
                )
        id_maps, class_labels = [], []
        for index, (segmentation_map, table) in enumerate(zip(maps, tables)):
            height, width = resized_sizes[index]
            resized = _resize_nearest(segmentation_map, height, width)
            id_map, labels = make_segment_targets(resized, table, ignore_index, do_reduce_labels, num_labels)
            if padded_size is not None and padded_size != (height, width):
                id_map = np.pad(id_map, ((0, padded_size[0] - height), (0, padded_size[1] - width)))
            id_maps.append(id_map)
            class_labels.append(labels)
        return id_maps, class_labels

    def _finish_batch(
        self,
        pixel_values: Any,
        targets: tuple[list[np.ndarray], list[np.ndarray]] | None,
        return_tensors: str | TensorType | None,
        device: Any = None,
    ) -> BatchFeature:
        batch = BatchFeature(data={"pixel_values": pixel_values}, tensor_type=return_tensors)
        if targets is not None:
            # Not stacked: each image has its own number of segments.
            as_arrays = return_tensors is not None and TensorType(return_tensors) == TensorType.NUMPY
            for name, values in zip(("mask_labels", "class_labels"), targets):
                batch[name] = values if as_arrays else [torch.from_numpy(value).to(device) for value in values]
        return batch

    # ---------------------------------------------------------------------------------------------- outputs
    def _geometry(
        self, outputs: Any, target_sizes: Any, image_sizes: Any
    ) -> tuple[tuple[int, int], list[tuple[int, int]] | None, list[tuple[int, int]] | None]:
        """Padded size, image sizes within it, and output sizes of a batch of model outputs."""
        mask_logits = outputs.masks_queries_logits
        padded = (mask_logits.shape[-2] * self.mask_stride, mask_logits.shape[-1] * self.mask_stride)
        targets: list[tuple[int, int]] | None = None
        if target_sizes is not None:
            if len(target_sizes) != len(mask_logits):
                raise ValueError(
                    f"target_sizes has {len(target_sizes)} entries for a batch of {len(mask_logits)} images; "
                    "give one (height, width) per image."
                )
            # A tensor of sizes is brought to the host once.
            sizes = target_sizes.tolist() if isinstance(target_sizes, Tensor) else target_sizes
            targets = [(int(height), int(width)) for height, width in sizes]
        if image_sizes is None and targets is not None:
            image_sizes = [resized_size(*size, self.size) if self.do_resize else size for size in targets]
            image_sizes = [(min(size[0], padded[0]), min(size[1], padded[1])) for size in image_sizes]
        return padded, image_sizes, targets

    def post_process_semantic_segmentation(
        self,
        outputs: Any,
        target_sizes: Sequence[tuple[int, int]] | Tensor | None = None,
        return_segmentation_scores: bool = False,
        image_sizes: Sequence[tuple[int, int]] | None = None,
    ) -> list[Any]:
        """Class map per image, see `hfseg.postprocess.semantic_segmentation`.

        Args:
            outputs: model output with `class_queries_logits` and `masks_queries_logits`.
            target_sizes: size (height, width) of each original image. Results have these sizes, and the padding of
                the network input is found by applying this processor's resize rule to them. Default: results at the
                padded size.
            return_segmentation_scores: whether to return `{"segmentation", "segmentation_scores"}` per image.
            image_sizes: size of each image within the padded input, where the resize rule does not give it.

        Shape: maps (H, W) int64, scores (K, H, W) float32.

        Raises:
            ValueError: if the number of sizes is not that of images.
        """
        padded, images, targets = self._geometry(outputs, target_sizes, image_sizes)
        maps, scores = postprocess.semantic_segmentation(
            outputs.class_queries_logits,
            outputs.masks_queries_logits,
            padded_size=padded,
            image_sizes=images,
            output_sizes=targets,
            return_scores=return_segmentation_scores,
        )
        if scores is None:
            return maps
        return [
            SemanticSegmentationPostProcessorOutput(
                data={"segmentation": label_map, "segmentation_scores": class_scores}
            )
            for label_map, class_scores in zip(maps, scores)
        ]

    def post_process_panoptic_segmentation(
        self,
        outputs: Any,
        threshold: float | None = None,
        mask_threshold: float | None = None,
        overlap_mask_area_threshold: float | None = None,
        label_ids_to_fuse: Sequence[int] | set[int] | None = None,
        target_sizes: Sequence[tuple[int, int]] | Tensor | None = None,
        image_sizes: Sequence[tuple[int, int]] | None = None,
    ) -> list[SegmentationResult]:
        """Panoptic segments per image, see `hfseg.postprocess.panoptic_segmentation`.

        Args:
            outputs: model output with `class_queries_logits` and `masks_queries_logits`.
            threshold: smallest class probability; default: the processor's, 0.8.
            mask_threshold: smallest mask probability; default: the processor's, 0.5.
            overlap_mask_area_threshold: smallest visible part of a mask; default: the processor's, 0.8.
            label_ids_to_fuse: stuff classes, one segment each; default: the processor's.
            target_sizes: see `post_process_semantic_segmentation`.
            image_sizes: see `post_process_semantic_segmentation`.

        Returns:
            Per image the dict `{"segmentation": (H, W) int32, "segments_info": [...]}`, 0 = void, as a
            `SegmentationResult` with compact masks.

        Raises:
            ValueError: if the number of sizes is not that of images, or a threshold is not legal.
        """
        padded, images, targets = self._geometry(outputs, target_sizes, image_sizes)
        results = postprocess.panoptic_segmentation(
            outputs.class_queries_logits,
            outputs.masks_queries_logits,
            padded_size=padded,
            image_sizes=images,
            output_sizes=targets,
            threshold=self.threshold if threshold is None else threshold,
            mask_threshold=self.mask_threshold if mask_threshold is None else mask_threshold,
            overlap_mask_area_threshold=(
                self.overlap_mask_area_threshold if overlap_mask_area_threshold is None else overlap_mask_area_threshold
            ),
            label_ids_to_fuse=self._stuff(label_ids_to_fuse),
            suppress_duplicates=self.suppress_duplicates,
            min_segment_area=self.min_segment_area,
        )
        return [SegmentationResult(segmentation, segments) for segmentation, segments in results]

    def post_process_instance_segmentation(
        self,
        outputs: Any,
        threshold: float = 0.0,
        mask_threshold: float | None = None,
        overlap_mask_area_threshold: float | None = None,
        target_sizes: Sequence[tuple[int, int]] | Tensor | None = None,
        label_ids_to_fuse: Sequence[int] | set[int] | None = None,
        image_sizes: Sequence[tuple[int, int]] | None = None,
    ) -> list[SegmentationResult]:
        """Instances of thing classes per image, best first, see `hfseg.postprocess.instance_segmentation`.

        Args:
            outputs: model output with `class_queries_logits` and `masks_queries_logits`.
            threshold: smallest score; 0 keeps all, as average precision wants and the authors do. For looking at
                results 0.5 is a good value.
            mask_threshold: mask probability above which a pixel is inside; default: the processor's, 0.5.
            overlap_mask_area_threshold: accepted because the pipeline passes it; instances may overlap.
            target_sizes: see `post_process_semantic_segmentation`.
            label_ids_to_fuse: stuff classes, which are left out; default: the processor's.
            image_sizes: see `post_process_semantic_segmentation`.

        Returns:
            Per image a `SegmentationResult`: `segmentation` shows the best instance at each pixel (0 = none), ids count
            from 1 in order of score; whole masks come from `masks`, `binary_masks()` or `run_length_masks()`.

        Raises:
            ValueError: if the number of sizes is not that of images, or a threshold is not legal.
        """
        padded, images, targets = self._geometry(outputs, target_sizes, image_sizes)
        results = []
        for instances in postprocess.instance_segmentation(
            outputs.class_queries_logits,
            outputs.masks_queries_logits,
            padded_size=padded,
            image_sizes=images,
            output_sizes=targets,
            threshold=threshold,
            mask_threshold=self.mask_threshold if mask_threshold is None else mask_threshold,
            num_instances=self.num_instances,
            stuff_label_ids=self._stuff(label_ids_to_fuse),
            suppress_duplicates=self.suppress_duplicates,
            min_segment_area=self.min_segment_area,
        ):
            columns = (instances.label_ids.tolist(), instances.scores.tolist(), instances.areas.tolist())
            segments = [
                {"id": position, "label_id": label, "was_fused": False, "score": score, "area": area}
                for position, (label, score, area) in enumerate(zip(*columns), start=1)
            ]
            results.append(
                SegmentationResult(instances.segmentation, segments, instances.packed_masks, instances.mask_indices)
            )
        return results

    def _stuff(self, label_ids_to_fuse: Sequence[int] | set[int] | None) -> Sequence[int] | set[int]:
        return (self.label_ids_to_fuse or ()) if label_ids_to_fuse is None else label_ids_to_fuse


class SemanticSegmentationProcessing(SegmentationProcessing):
    """Mixin of image processors for models that predict class logits per pixel, `outputs.logits` (B, K, h, w)."""

    def preprocess(self, images: Any, segmentation_maps: Any = None, **kwargs: Any) -> BatchFeature:
        """Turns images, and optionally their class maps, into a padded batch for the network.

        Args:
            images: PIL images, arrays, tensors or paths of local files, one or a list.
            segmentation_maps: class-id maps of the same sizes, one or a list (PIL images with one integer channel, or
                integer arrays (H, W)).
            **kwargs: any attribute of the processor, for this call only.

        Returns:
            `pixel_values` (B, 3, H, W) float; with maps also `labels` (B, H, W) int64, `ignore_index` where void or
            padded. Lists where images of several sizes are not padded.

        Raises:
            ValueError: for empty input, NaN or infinite pixels, maps that are not integer, of another size than their
                image or in another number, and class ids out of range.
        """
        if isinstance(images, (list, tuple)) and len(images) == 0:
            raise ValueError("The list of images is empty; give at least one image.")
        return super().preprocess(images, segmentation_maps, **kwargs)  # type: ignore[misc]

    def class_maps(
        self,
        segmentation_maps: Any,
        image_sizes: Sequence[tuple[int, int]],
        resized_sizes: Sequence[tuple[int, int]],
        padded_size: tuple[int, int] | None,
        ignore_index: int | None,
        do_reduce_labels: bool,
        num_labels: int | None,
    ) -> list[np.ndarray]:
        """Resized and padded class maps (H, W) int64, one per image."""
        maps = _as_integer_maps(segmentation_maps)
        _check_maps(maps, image_sizes)
        void = 255 if ignore_index is None else ignore_index
        class_maps = []
        for index, (segmentation_map, size) in enumerate(zip(maps, resized_sizes)):
            labels = segmentation_map.astype(np.int64)
            if do_reduce_labels:
                labels = np.where((labels == 0) | (labels == void), void, labels - 1)
            # Before resizing, which may lose a few pixels of a wrong class.
            legal = np.iinfo(np.int64).max if num_labels is None else num_labels
            wrong = labels[(labels != void) & ((labels < 0) | (labels >= legal))]
            if wrong.size:
                raise ValueError(
                    f"Segmentation map {index} holds the class ids {np.unique(wrong)[:5].tolist()}; legal are "
                    + (f"0..{num_labels - 1}" if num_labels is not None else "0 and above")
                    + f", and {void} for pixels to ignore."
                )
            labels = _resize_nearest(labels, *size)
            if padded_size is not None and padded_size != tuple(size):
                rest = ((0, padded_size[0] - size[0]), (0, padded_size[1] - size[1]))
                labels = np.pad(labels, rest, constant_values=void)
            class_maps.append(labels)
        return class_maps

    def _finish_batch(
        self,
        pixel_values: Any,
        class_maps: list[np.ndarray] | None,
        return_tensors: str | TensorType | None,
        device: Any = None,
    ) -> BatchFeature:
        data = {"pixel_values": pixel_values}
        if class_maps is not None:
            data["labels"] = class_maps
        batch = BatchFeature(data=data, tensor_type=return_tensors)
        if device is not None and isinstance(batch.get("labels"), Tensor):
            batch["labels"] = batch["labels"].to(device)
        return batch

    # ---------------------------------------------------------------------------------------------- outputs
    def post_process_semantic_segmentation(
        self,
        outputs: Any,
        target_sizes: Sequence[tuple[int, int]] | Tensor | None = None,
        return_segmentation_scores: bool = False,
        image_sizes: Sequence[tuple[int, int]] | None = None,
        padded_size: tuple[int, int] | None = None,
    ) -> list[Any]:
        """Class map per image: logits resized to the image without the padding, and the largest taken.

        Args:
            outputs: model output with `logits`.
            target_sizes: size (height, width) of each original image; results have these sizes. Default: results at
                the size of the logits, padding included.
            return_segmentation_scores: whether to return `{"segmentation", "segmentation_scores"}` per image.
            image_sizes: size of each image within the padded input. Default: this processor's resize rule, applied to
                `target_sizes`.
            padded_size: size of the network input. Default: what this processor pads images of these sizes to. If the
                logits cannot be those of such an input, they are taken for the whole of each image.

        Shape: maps (H, W) int64, scores (K, H, W) float32 logits.

        Raises:
            ValueError: if the number of sizes is not that of images.
        """
        logits = outputs.logits
        if target_sizes is None:
            resized = list(logits.float())
        else:
            if len(target_sizes) != len(logits):
                raise ValueError(
                    f"target_sizes has {len(target_sizes)} entries for a batch of {len(logits)} images; "
                    "give one (height, width) per image."
                )
            # A tensor of sizes is brought to the host once.
            sizes = target_sizes.tolist() if isinstance(target_sizes, Tensor) else target_sizes
            targets = [(int(height), int(width)) for height, width in sizes]
            if image_sizes is None:
                image_sizes = [resized_size(*size, self.size) if self.do_resize else size for size in targets]  # type: ignore[attr-defined]
            if padded_size is None:
                pad_size = getattr(self, "pad_size", None)
                padded_size = self.padded_size(image_sizes, self.size_divisor if self.do_pad else None, pad_size)
                shape = (logits.shape[-2], logits.shape[-1])
                if padded_size[0] * shape[1] != padded_size[1] * shape[0]:
                    logger.warning_once(
                        f"Logits of {shape[0]} x {shape[1]} are not those of an input of {padded_size[0]} x "
                        f"{padded_size[1]}, to which this processor pads images of these sizes; they are taken for the "
                        "whole of each image. If the input was padded, give padded_size and image_sizes."
                    )
                    padded_size, image_sizes = shape, [shape] * len(targets)
            resized = postprocess.resize_class_logits(logits, padded_size, image_sizes, targets)
        maps = [scores.argmax(0) for scores in resized]
        if not return_segmentation_scores:
            return maps
        return [
            SemanticSegmentationPostProcessorOutput(data={"segmentation": labels, "segmentation_scores": scores})
            for labels, scores in zip(maps, resized)
        ]


def _check_maps(maps: Sequence[np.ndarray], image_sizes: Sequence[tuple[int, int]]) -> None:
    """Raises a ValueError unless there is one map per image, of its size."""
    if len(maps) != len(image_sizes):
        raise ValueError(f"Got {len(maps)} segmentation maps for {len(image_sizes)} images; give one per image.")
    for index, (segmentation_map, size) in enumerate(zip(maps, image_sizes)):
        if segmentation_map.shape != tuple(size):
            raise ValueError(
                f"Segmentation map {index} is {segmentation_map.shape[0]} x {segmentation_map.shape[1]} pixels "
                f"(height x width), its image {size[0]} x {size[1]}; they must agree."
            )


def _as_integer_maps(segmentation_maps: Any) -> list[np.ndarray]:
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
