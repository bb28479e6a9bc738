# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Image processing of detectors: boxes of the images as they were given."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ..postprocess import detect_boxes
from ..results.incomplete import Detections, tell
from .limits import cut_boxes
from .sizes import output_sizes, resized_size

__all__ = ["DetectionProcessing"]


class DetectionProcessing:
    """Mixin of image processors whose models also predict a box per query.

    Beside `SegmentationProcessing`, whose resize rule tells where an image lies in the padded network input.
    """

    size: Any
    size_divisor: int | None
    do_resize: bool

    def post_process_object_detection(
        self,
        outputs: Any,
        threshold: float = 0.5,
        target_sizes: Sequence[tuple[int, int]] | Tensor | None = None,
        image_sizes: Sequence[tuple[int, int]] | None = None,
        num_detections: int = 300,
    ) -> list[dict[str, Tensor]]:
        """Boxes per image, see `hfseg.postprocess.detect_boxes`.

        Args:
            outputs: Model output with `logits`, `pred_boxes` and `input_sizes`.
            threshold: Smallest score.
            target_sizes: Size (height, width) of each original image. Boxes are in its pixels, and the padding of the
                network input is found by applying this processor's resize rule. Default: boxes are shares, 0..1, of the
                padded input, or of the images if `image_sizes` is given.
            image_sizes: Size of each image within the padded input, where the resize rule does not give it.
            num_detections: Boxes at most; a warning says where as many reach a threshold above 0.

        Returns:
            Per image `{"scores": (N,), "labels": (N,), "boxes": (N, 4)}`, boxes as (left, top, right, bottom), best
            first.

        Raises:
            ValueError: If the number of sizes is not that of images, or the threshold is not between 0 and 1.
        """
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold must be between 0 and 1; got {threshold}.")
        count = len(outputs.logits)
        padded = output_sizes(outputs.input_sizes, count)
        targets = None if target_sizes is None else output_sizes(target_sizes, count)
        if image_sizes is not None:
            image_sizes = output_sizes(image_sizes, count)
        elif targets is not None:
            inner = [resized_size(*size, self.size) if self.do_resize else size for size in targets]
            image_sizes = [(min(a[0], b[0]), min(a[1], b[1])) for a, b in zip(inner, padded)]
        found = detect_boxes(
            outputs.logits,
            outputs.pred_boxes,
            padded_sizes=padded,
            image_sizes=image_sizes,
            output_sizes=targets,
            threshold=threshold,
            num_detections=num_detections,
        )
        cut = cut_boxes(found, threshold, num_detections, outputs.logits[0].numel())
        tell(cut)
        return [Detections(boxes, message) for boxes, message in zip(found, cut)]
