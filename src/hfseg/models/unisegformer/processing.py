# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What both image processors of UniSegFormer share beyond other universal models: two kinds of outputs, a warning."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor
from transformers.utils import logging

from ...processing.kwargs import UniversalImageProcessorKwargs
from ...processing.segmentation import Placement
from ...processing.semantic import SemanticSegmentationProcessing
from ...processing.universal import UniversalSegmentationProcessing

logger = logging.get_logger(__name__)


class UniSegFormerImageProcessorKwargs(UniversalImageProcessorKwargs, total=False):
    """Settings of `UniSegFormerProcessing`."""

    class_map_labels: bool | None


class UniSegFormerProcessing(UniversalSegmentationProcessing):
    """Mixin: targets and results of dense logits too, lower thresholds, and a word when nothing passes them.

    Attributes beyond those of `UniversalSegmentationProcessing`:
        class_map_labels: targets are `labels`, class maps (H, W) int64, as `UniSegFormerForSemanticSegmentation` takes
            them, instead of `mask_labels` and `class_labels`.
    """

    class_map_labels = False

    size = {"shortest_edge": 1024, "longest_edge": 2048}
    # An under-trained model is unsure of everything; with 0.8 its results would be empty.
    threshold = 0.5

    def make_targets(
        self,
        segmentation_maps: Any,
        instance_id_to_semantic_id: Any = None,
        *,
        placed: Placement,
        class_map_labels: bool | None = False,
        **settings: Any,
    ) -> dict[str, list[np.ndarray]]:
        """Targets of queries, or `labels`."""
        if not class_map_labels:
            return super().make_targets(segmentation_maps, instance_id_to_semantic_id, placed=placed, **settings)
        if instance_id_to_semantic_id is not None:
            raise ValueError("With class_map_labels maps hold class ids; do not give instance_id_to_semantic_id.")
        return SemanticSegmentationProcessing.make_targets(self, segmentation_maps, placed=placed, **settings)  # type: ignore[arg-type]

    class_maps = SemanticSegmentationProcessing.class_maps

    def post_process_semantic_segmentation(
        self,
        outputs: Any,
        target_sizes: Sequence[tuple[int, int]] | Tensor | None = None,
        return_segmentation_scores: bool = False,
        image_sizes: Sequence[tuple[int, int]] | None = None,
    ) -> list[Any]:
        """Class map per image, from queries or from dense `logits`.

        Arguments, results and errors: see `SemanticSegmentationProcessing` and `UniversalSegmentationProcessing`.
        """
        if hasattr(outputs, "masks_queries_logits") or (
            isinstance(outputs, dict) and "masks_queries_logits" in outputs
        ):
            return super().post_process_semantic_segmentation(
                outputs, target_sizes, return_segmentation_scores, image_sizes
            )
        return SemanticSegmentationProcessing.post_process_semantic_segmentation(
            self,  # type: ignore[arg-type]
            outputs,
            target_sizes,
            return_segmentation_scores,
            image_sizes,
        )

    def post_process_panoptic_segmentation(self, outputs: Any, threshold: float | None = None, **kwargs: Any) -> list:
        """Panoptic segments per image; see `UniversalSegmentationProcessing`."""
        results = super().post_process_panoptic_segmentation(outputs, threshold, **kwargs)
        self._warn_if_empty(results, self.threshold if threshold is None else threshold)
        return results

    def post_process_instance_segmentation(self, outputs: Any, threshold: float = 0.0, **kwargs: Any) -> list:
        """Instances per image, best first; see `UniversalSegmentationProcessing`."""
        results = super().post_process_instance_segmentation(outputs, threshold, **kwargs)
        self._warn_if_empty(results, threshold)
        return results

    def _warn_if_empty(self, results: list, threshold: float) -> None:
        """Says once what to do if an image has no segment."""
        if any(not result["segments_info"] for result in results):
            logger.warning_once(
                f"No segment of an image passed the threshold of {threshold}. Lower threshold (class probability) or "
                "overlap_mask_area_threshold (visible part of a mask), or train longer; `class_queries_logits` tells "
                "how sure the model is."
            )
