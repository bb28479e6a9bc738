# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Tasks with a fixed list of classes: universal (panoptic, instance, semantic from one set of masks) and semantic."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from accelerate.utils import DistributedType
from torch import nn

from accelerate import Accelerator

from ...evaluation.segmentation import TASKS, evaluate_segmentation, measurable_tasks, segmentation_overlays
from ..normalization import LossNormalizer, count_labeled_pixels
from .base import Task


class ClosedVocabularyTask(Task):
    """Base of both: the same metrics, as far as labels and outputs allow.

    `run.evaluation` takes `tasks` (some of panoptic, instance, semantic), `batch_size` (1), and `loss` (False, True if
    `run.metric` is loss).
    """

    measured: ClassVar[tuple[str, ...]] = TASKS

    def evaluation_options(self) -> dict[str, Any]:
        """Arguments of `run.evaluation`, with defaults.

        Raises:
            ValueError: One is not known.
        """
        options: dict[str, Any] = {"tasks": self.measured, "batch_size": 1, "loss": self.arguments.run.metric == "loss"}
        unknown = sorted(set(self.arguments.run.evaluation) - set(options))
        if unknown:
            raise ValueError(f"run.evaluation takes no {', '.join(unknown)}; must be one of {', '.join(options)}.")
        return options | self.arguments.run.evaluation

    def check_validation(self, dataset: Any, processor: Any) -> None:
        """Says before the training whether the labels can be measured at all."""
        options = self.evaluation_options()
        if not hasattr(dataset, "id2label") or processor is None:
            return
        try:
            dataset[0]
        except (ValueError, OSError):  # damaged: what the recipe does about it (`data.on_error`) is not decided here
            return
        measurable_tasks(dataset, options["tasks"], rank=1)

    def evaluate(
        self,
        model: nn.Module,
        processor: Any,
        dataset: Any,
        collate: Callable[[list], Mapping[str, Any]],
        accelerator: Accelerator,
    ) -> dict[str, float]:
        """Measures PQ, AP and mean IoU in percent, as the labels allow; the loss, if asked for or nothing else is."""
        options = self.evaluation_options()
        measurable = hasattr(dataset, "id2label") and processor is not None
        sharded = accelerator.distributed_type == DistributedType.FSDP  # then all ranks must do equal passes
        numbers: dict[str, float] = {}
        if measurable:
            numbers = evaluate_segmentation(
                model,
                processor,
                dataset,
                options["batch_size"],
                options["tasks"],
                rank=0 if sharded else accelerator.process_index,
                ranks=1 if sharded else accelerator.num_processes,
            )
        if options["loss"] or not measurable:
            numbers |= self.evaluate_loss(model, dataset, collate, accelerator)
        return numbers

    def overlays(self, model: nn.Module, processor: Any, dataset: Any, count: int) -> list[Any]:
        """Draws image, truth and prediction side by side."""
        if not hasattr(dataset, "id2label") or processor is None:
            return []
        return segmentation_overlays(model, processor, dataset, count, tasks=self.measured)


class UniversalTask(ClosedVocabularyTask):
    """Mask classification: one model, three tasks."""

    auto_class = "AutoModelForUniversalSegmentation"

    def build_processor(self, model: nn.Module) -> Any:
        """Builds the image processor; it fuses the model's stuff classes unless the recipe says otherwise."""
        processor = super().build_processor(model)
        stuff = getattr(model.config, "stuff_class_ids", None)
        given = "label_ids_to_fuse" in self.arguments.model.processor
        if stuff is not None and not given and hasattr(processor, "label_ids_to_fuse"):
            processor.label_ids_to_fuse = list(stuff)
        return processor


class SemanticTask(ClosedVocabularyTask):
    """A class per pixel, learned from `labels` (B, H, W)."""

    auto_class = "AutoModelForSemanticSegmentation"
    default_collator = "semantic"
    measured = ("semantic",)

    def loss_normalizer(self, model: nn.Module) -> LossNormalizer | None:
        """Counts labeled pixels: the denominator of cross-entropy."""
        ignore_index = getattr(model.config, "semantic_loss_ignore_index", 255)
        return lambda batch: count_labeled_pixels(batch, ignore_index)
