# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Tasks of pictures with text. The processor joins image processor and tokenizer and comes from `model.tokenizer`."""

from typing import Any

from torch import nn

from .base import Task, load_processor


class ImageTextTask(Task):
    """Pictures with captions; a model's loss compares them."""

    auto_class = "AutoModelForPreTraining"
    pipeline_tag = "zero-shot-image-classification"
    collators = {**Task.collators, "image-text": "hfseg.data.collators.text:ImageTextCollator"}
    default_collator = "image-text"

    def example(self, name: str) -> str:
        """Shows how the model is loaded; what it is asked with is the architecture's own."""
        return (
            f"import hfseg\nfrom transformers import {self.auto_class}, AutoProcessor\n\n"
            f'model, processor = {self.auto_class}.from_pretrained("{name}"), AutoProcessor.from_pretrained("{name}")'
        )

    def build_processor(self, model: nn.Module) -> Any:
        """Loads image processor and tokenizer from a folder; texts cannot be read without a vocabulary."""
        return load_processor(self.arguments.model)


class ReferringTask(ImageTextTask):
    """The object that an expression means. Without a metric of the architecture's own, the loss is measured."""

    auto_class = "AutoModel"
    pipeline_tag = "image-segmentation"
    collators = {**Task.collators, "referring": "hfseg.data.collators.text:ReferringCollator"}
    default_collator = "referring"
