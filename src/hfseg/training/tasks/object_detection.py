# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Object detection: a class and a box for every thing, learned from the boxes of segments."""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import nn

from ...evaluation.object_detection import check_things, evaluate_object_detection, object_detection_overlays
from .closed_vocabulary import MeasuredTask


class ObjectDetectionTask(MeasuredTask):
    """Detectors; between epochs their box AP is measured."""

    auto_class: ClassVar[str] = "AutoModelForObjectDetection"
    pipeline_tag: ClassVar[str] = "object-detection"
    collators: ClassVar[Mapping[str, str]] = {"detection": "hfseg.data.collators.detection_collation:DetectionCollator"}
    default_collator: ClassVar[str] = "detection"

    def check_labels(self, dataset: Any, options: Mapping[str, Any]) -> None:
        """See `check_things`."""
        check_things(dataset)

    def measure(
        self, model: nn.Module, processor: Any, dataset: Any, options: Mapping[str, Any], *, rank: int, ranks: int
    ) -> dict[str, float]:
        """See `evaluate_object_detection`."""
        return evaluate_object_detection(model, processor, dataset, options["batch_size"], rank=rank, ranks=ranks)

    def draw(self, model: nn.Module, processor: Any, dataset: Any, count: int) -> list[Any]:
        """See `object_detection_overlays`."""
        return object_detection_overlays(model, processor, dataset, count)
