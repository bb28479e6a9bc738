# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Object detection: a class and a box for every thing, learned from the boxes of segments."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from accelerate.utils import DistributedType
from torch import nn

from accelerate import Accelerator

from ...evaluation.object_detection import check_things, evaluate_object_detection, object_detection_overlays
from .base import Task


class ObjectDetectionTask(Task):
    """Detectors; between epochs their box AP is measured.

    `run.evaluation` takes `batch_size` (1) and `loss` (False, True if `run.metric` is loss).
    """

    auto_class: ClassVar[str] = "AutoModelForObjectDetection"
    pipeline_tag: ClassVar[str] = "object-detection"
    collators: ClassVar[Mapping[str, str]] = {"detection": "hfseg.data.collators.detection_collation:DetectionCollator"}
    default_collator: ClassVar[str] = "detection"

    def evaluation_options(self) -> dict[str, Any]:
        """Arguments of `run.evaluation`, with defaults.

        Raises:
            ValueError: One is not known.
        """
        options: dict[str, Any] = {"batch_size": 1, "loss": self.arguments.run.metric == "loss"}
        unknown = sorted(set(self.arguments.run.evaluation) - set(options))
        if unknown:
            raise ValueError(f"run.evaluation takes no {', '.join(unknown)}; must be one of {', '.join(options)}.")
        return options | self.arguments.run.evaluation

    def check_validation(self, dataset: Any, processor: Any) -> None:
        """Says before the training whether the labels have boxes."""
        self.evaluation_options()
        if hasattr(dataset, "id2label") and processor is not None:
            check_things(dataset)

    def evaluate(
        self,
        model: nn.Module,
        processor: Any,
        dataset: Any,
        collate: Callable[[list], Mapping[str, Any]],
        accelerator: Accelerator,
    ) -> dict[str, float]:
        """Measures box AP in percent; the loss, if asked for or nothing else can be measured."""
        options = self.evaluation_options()
        measurable = hasattr(dataset, "id2label") and processor is not None
        sharded = accelerator.distributed_type == DistributedType.FSDP  # then all ranks must do equal passes
        numbers: dict[str, float] = {}
        if measurable:
            numbers = evaluate_object_detection(
                model,
                processor,
                dataset,
                options["batch_size"],
                rank=0 if sharded else accelerator.process_index,
                ranks=1 if sharded else accelerator.num_processes,
            )
        if options["loss"] or not measurable:
            numbers |= self.evaluate_loss(model, dataset, collate, accelerator)
        return numbers

    def overlays(self, model: nn.Module, processor: Any, dataset: Any, count: int) -> list[Any]:
        """Draws image, true boxes and predicted boxes side by side."""
        if not hasattr(dataset, "id2label") or processor is None:
            return []
        return object_detection_overlays(model, processor, dataset, count)
