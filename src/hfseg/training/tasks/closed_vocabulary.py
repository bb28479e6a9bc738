# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Tasks with a fixed list of classes: universal (panoptic, instance, semantic from one set of masks) and semantic.

What they share with detection is in `MeasuredTask`.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from accelerate.utils import DistributedType
from torch import nn

from accelerate import Accelerator

from ...evaluation.segmentation import TASKS, evaluate_segmentation, measurable_tasks, segmentation_overlays
from ..normalization import LossNormalizer, count_labeled_pixels
from .base import Task


class MeasuredTask(Task):
    """Tasks whose answers on held-out images are measured between epochs, beside or instead of the loss.

    `run.evaluation` takes `batch_size` (1), and `loss` (False, True if `run.metric` is loss).
    """

    def default_options(self) -> dict[str, Any]:
        """What `run.evaluation` takes."""
        return {"batch_size": 1, "loss": self.arguments.run.metric == "loss"}

    def check_labels(self, dataset: Any, options: Mapping[str, Any]) -> None:
        """Checks that the labels can be measured.

        Raises:
            ValueError: They cannot.
        """
        raise NotImplementedError

    def measure(
        self, model: nn.Module, processor: Any, dataset: Any, options: Mapping[str, Any], *, rank: int, ranks: int
    ) -> dict[str, float]:
        """Measures answers, in percent; all processes return the whole set's numbers."""
        raise NotImplementedError

    def draw(self, model: nn.Module, processor: Any, dataset: Any, count: int) -> list[Any]:
        """Draws image, truth and prediction side by side."""
        raise NotImplementedError

    def evaluation_options(self) -> dict[str, Any]:
        """Arguments of `run.evaluation`, with defaults.

        Raises:
            ValueError: One is not known.
        """
        options = self.default_options()
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
        self.check_labels(dataset, options)

    def evaluate(
        self,
        model: nn.Module,
        processor: Any,
        dataset: Any,
        collate: Callable[[list], Mapping[str, Any]],
        accelerator: Accelerator,
    ) -> dict[str, float]:
        """Measures answers, as the labels allow; the loss, if asked for or nothing else is."""
        options = self.evaluation_options()
        measurable = hasattr(dataset, "id2label") and processor is not None
        sharded = accelerator.distributed_type == DistributedType.FSDP  # then all ranks must do equal passes
        numbers: dict[str, float] = {}
        if measurable:
            rank, ranks = (0, 1) if sharded else (accelerator.process_index, accelerator.num_processes)
            numbers = self.measure(model, processor, dataset, options, rank=rank, ranks=ranks)
        if options["loss"] or not measurable:
            numbers |= self.evaluate_loss(model, dataset, collate, accelerator)
        return numbers

    def overlays(self, model: nn.Module, processor: Any, dataset: Any, count: int) -> list[Any]:
        """Draws image, truth and prediction side by side, where there is a truth."""
        if not hasattr(dataset, "id2label") or processor is None:
            return []
        return self.draw(model, processor, dataset, count)


class ClosedVocabularyTask(MeasuredTask):
    """Segmentation into a list of classes: PQ, AP and mean IoU, as far as labels and outputs allow.

    `run.evaluation` also takes `tasks` (some of panoptic, instance, semantic).
    """

    measured: ClassVar[tuple[str, ...]] = TASKS

    def default_options(self) -> dict[str, Any]:
        """What `run.evaluation` takes."""
        return {"tasks": self.measured, **super().default_options()}

    def check_labels(self, dataset: Any, options: Mapping[str, Any]) -> None:
        """See `measurable_tasks`."""
        measurable_tasks(dataset, options["tasks"], rank=1)

    def measure(
        self, model: nn.Module, processor: Any, dataset: Any, options: Mapping[str, Any], *, rank: int, ranks: int
    ) -> dict[str, float]:
        """See `evaluate_segmentation`."""
        batch_size, tasks = options["batch_size"], options["tasks"]
        return evaluate_segmentation(model, processor, dataset, batch_size, tasks, rank=rank, ranks=ranks)

    def draw(self, model: nn.Module, processor: Any, dataset: Any, count: int) -> list[Any]:
        """See `segmentation_overlays`."""
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
