# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Segmentation of medical volumes: slices to learn from, whole volumes to be measured on."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from torch import nn

from accelerate import Accelerator

from ...evaluation.medical import MEASURES, evaluate_volumes
from ..normalization import LossNormalizer
from .base import call, find
from .closed_vocabulary import SemanticTask


class MedicalVolumeTask(SemanticTask):
    """A class per voxel, learnt slice by slice.

    `run.evaluation` takes `measures` (some of `MEASURES`), `batch_size` (slices, 16), and `loss` (False, True
    if `run.metric` is loss). Numbers are percent and millimeters, over whole volumes in their own voxels.
    """

    datasets: ClassVar[Mapping[str, str]] = {
        **SemanticTask.datasets,
        "medical": "hfseg.data.readers.medical_layouts:load_medical",
        "medical_mixture": "hfseg.data.readers.medical_mixture:load_medical_mixture",
    }
    collators: ClassVar[Mapping[str, str]] = {
        **SemanticTask.collators,
        "medical": "hfseg.data.readers.medical:MedicalCollator",
    }
    default_collator = "medical"

    def example(self, name: str) -> str:
        """Shows the way of a volume, from file to file."""
        return (
            "import hfseg  # registers the model with transformers\n"
            "from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation\n\n"
            f'model = AutoModelForSemanticSegmentation.from_pretrained("{name}")\n'
            f'processor = AutoImageProcessor.from_pretrained("{name}")\n'
            'result = model.predict_volume("scan.nii.gz", processor, "segmentation.nii.gz")\n'
            "print(result.milliliters_per_class)"
        )

    def build_collator(
        self, dataset: Any, model: nn.Module, processor: Any, training: bool = True
    ) -> Callable[[list], Mapping[str, Any]]:
        """Builds the collator; validation sees no augmentation."""
        data = self.arguments.data
        name = self.default_collator if data.collate == "auto" else data.collate
        if name != "medical":
            return super().build_collator(dataset, model, processor, training)
        given = dict(data.collator)
        if not training:
            for augmentation in ("affine", "flips", "gamma", "noise"):
                given.pop(augmentation, None)
        if processor is not None and "size" not in given:
            given["size"] = [processor.size["height"], processor.size["width"]]
        return call(find(name, self.collators, "data.collate"), given, {}, f"data.collate={name}")

    def loss_normalizer(self, model: nn.Module) -> LossNormalizer | None:
        """Leaves counting to models that do it, and counts labeled pixels for others."""
        return None if hasattr(model, "loss_normalizer") else super().loss_normalizer(model)

    def evaluation_options(self) -> dict[str, Any]:
        """Arguments of `run.evaluation`, with defaults.

        Raises:
            ValueError: One is not known.
        """
        options: dict[str, Any] = {"measures": ["dice"], "batch_size": 16, "loss": self.arguments.run.metric == "loss"}
        unknown = sorted(set(self.arguments.run.evaluation) - set(options))
        if unknown:
            raise ValueError(f"run.evaluation takes no {', '.join(unknown)}; must be one of {', '.join(options)}.")
        options |= self.arguments.run.evaluation
        if set(options["measures"]) - set(MEASURES):
            raise ValueError(f"run.evaluation.measures is {options['measures']}; must be one of {', '.join(MEASURES)}.")
        return options

    def check_validation(self, dataset: Any, processor: Any) -> None:
        """Checks the options before the training; volumes are measured whatever they hold."""
        self.evaluation_options()

    def evaluate(
        self,
        model: nn.Module,
        processor: Any,
        dataset: Any,
        collate: Callable[[list], Mapping[str, Any]],
        accelerator: Accelerator,
    ) -> dict[str, float]:
        """Measures whole volumes, and the loss if asked for."""
        options = self.evaluation_options()
        numbers: dict[str, float] = {}
        if options["measures"]:
            numbers |= evaluate_volumes(
                model,
                dataset,
                (int(processor.size["height"]), int(processor.size["width"])),
                options["measures"],
                options["batch_size"],
                accelerator.process_index,
                accelerator.num_processes,
            )
        if options["loss"]:
            numbers |= self.evaluate_loss(model, dataset, collate, accelerator)
        return numbers

    def overlays(self, model: nn.Module, processor: Any, dataset: Any, count: int) -> list[Any]:
        """Draws nothing: slices have no colors of their own to draw on."""
        return []
