# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Tasks whose data and metrics are the architecture's own: they name the Auto class, and measure the loss."""

from .base import Task
from .closed_vocabulary import SemanticTask


class MaskGenerationTask(Task):
    """Masks from prompts; `data.collate` names the architecture's collator."""

    auto_class = "AutoModelForMaskGeneration"
    pipeline_tag = "mask-generation"


class MedicalTask(SemanticTask):
    """A class per pixel of slices (`image`, `mask`); volumes and their metrics are the architecture's own."""


class InContextTask(Task):
    """Targets from worked examples (`task`, `input`, `target`); `data.collate` names the architecture's collator."""

    pipeline_tag = "image-to-image"


class PreTrainingTask(Task):
    """Whatever a model with a pre-training loss takes; `data.collate` names the architecture's collator."""

    auto_class = "AutoModelForPreTraining"
    pipeline_tag = "image-feature-extraction"
