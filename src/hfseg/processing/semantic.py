# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Image processing of models that predict class logits per pixel: class maps as targets and as results."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor
from transformers.image_processing_utils import BatchFeature
from transformers.utils import logging

from .. import postprocess
from .segmentation import Placement, SegmentationProcessing, SemanticSegmentationPostProcessorOutput
from .sizes import output_sizes, resized_size
from .targets import as_integer_maps, check_maps, resize_nearest

logger = logging.get_logger(__name__)

__all__ = ["SemanticSegmentationProcessing"]


class SemanticSegmentationProcessing(SegmentationProcessing):
    """Mixin of image processors for models that predict class logits per pixel, `outputs.logits` (B, K, h, w)."""

    targets_are_stacked = True
    # Of the image processor beside it.
    size: Any

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
        return super().preprocess(images, segmentation_maps, **kwargs)

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
        maps = as_integer_maps(segmentation_maps)
        check_maps(maps, image_sizes)
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
                    f"Segmentation map {index} holds the class ids {np.unique(wrong)[:5].tolist()}; must be one of "
                    + (f"0..{num_labels - 1}" if num_labels is not None else "0 and above")
                    + f", and {void} for pixels to ignore."
                )
            labels = resize_nearest(labels, *size)
            if padded_size is not None and padded_size != tuple(size):
                rest = ((0, padded_size[0] - size[0]), (0, padded_size[1] - size[1]))
                labels = np.pad(labels, rest, constant_values=void)
            class_maps.append(labels)
        return class_maps

    def make_targets(
        self,
        segmentation_maps: Any,
        *,
        placed: Placement,
        ignore_index: int | None = None,
        do_reduce_labels: bool = False,
        num_labels: int | None = None,
        **_: Any,
    ) -> dict[str, list[np.ndarray]]:
        """`labels`, padded class maps."""
        sizes = (placed.original_sizes, placed.resized_sizes, placed.padded_size)
        return {"labels": self.class_maps(segmentation_maps, *sizes, ignore_index, do_reduce_labels, num_labels)}

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
            targets = output_sizes(target_sizes, len(logits))
            if image_sizes is None:
                image_sizes = [resized_size(*size, self.size) if self.do_resize else size for size in targets]
            if padded_size is None:
                pad_size = getattr(self, "pad_size", None)
                padded_size = self.padded_size(image_sizes, self.size_divisor if self.do_pad else None, pad_size)
                shape = (logits.shape[-2], logits.shape[-1])
                if padded_size[0] * shape[1] != padded_size[1] * shape[0] and pad_size is None:
                    # Models pad what was not: to the same whole patches.
                    padded_size = self.padded_size(image_sizes, self.size_divisor, None)
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
