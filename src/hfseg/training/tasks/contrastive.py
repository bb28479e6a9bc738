# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""CLIP itself, learned from images with captions, where no pretrained one fits the data."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import nn
from transformers import CONFIG_MAPPING, PROCESSOR_MAPPING
from transformers.utils import ModelOutput

from ...data.synthetic.shapes_captions import entity_tokenizer
from ...files.tokenizers import check_vocabulary
from ...losses.contrastive import softmax_contrastive_loss
from .base import Task, build_image_processor, load_processor

__all__ = ["SHAPES_TOKENIZER", "ContrastiveTask", "ContrastiveTowers"]

SHAPES_TOKENIZER = "shapes"
# Fields of configurations that freeze CLIP, or its image tower, in all other training.
FREEZING = ("freeze_backbone", "freeze_clip")


class ContrastiveTowers(nn.Module):
    """CLIP's two towers of an open-vocabulary model, with the loss that learns them from images with captions.

    Args:
        model: With `clip_parts()`, which learn; the rest is neither used nor changed.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model, self.config = model, model.config
        model.requires_grad_(False)
        for part in model.clip_parts():
            part.requires_grad_(True)

    def forward(
        self, pixel_values: torch.Tensor, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None
    ) -> ModelOutput:
        """Computes the loss; in training with the pairs of all processes, which have equally many then.

        Shape:
            pixel_values: `(B, 3, H, W)`; input_ids, attention_mask: `(B, L)`.
        """
        images = F.normalize(self.model.get_image_features(pixel_values), dim=-1)
        texts = F.normalize(self.model.get_text_features(input_ids, attention_mask), dim=-1)
        scale = self.model.logit_scale.exp().clamp(max=100)
        loss = softmax_contrastive_loss(images, texts, scale, input_ids, gather=self.training)
        return ModelOutput(loss=loss, loss_dict={"loss_contrastive": loss}, image_embeds=images, text_embeds=texts)


class ContrastiveTask(Task):
    """CLIP itself, for data where no pretrained one fits: images with captions, as in Radford et al. (2021).

    `model.tokenizer` is a folder or Hub id, or `shapes` for the words of the embedded scenes. The output folder is what
    learning of masks and names starts from (`model.pretrained`). Measures the loss on held-out pairs.
    """

    auto_class = "AutoModelForOpenVocabularySegmentation"
    datasets = {
        **Task.datasets,
        "entities": "hfseg.data.readers.entities:EntityDataset",
        "shapes-captions": "hfseg.data.readers.entities:ShapesCaptions",
        "shards": "hfseg.data.readers.image_text:ImageTextShards",
    }
    pipeline_tag = "zero-shot-image-classification"
    collators = {**Task.collators, "image-text": "hfseg.data.collators.text:ImageTextCollator"}
    default_collator = "image-text"

    def example(self, name: str) -> str:
        """Shows how the model is loaded; what it is asked with is the architecture's own."""
        return (
            f"import hfseg\nfrom transformers import {self.auto_class}, AutoProcessor\n\n"
            f'model, processor = {self.auto_class}.from_pretrained("{name}"), AutoProcessor.from_pretrained("{name}")'
        )

    def build_model(self, dataset: Any, load_backbone: bool = True) -> nn.Module:
        """Builds an open-vocabulary model and takes its towers, which learn whatever the configuration freezes."""
        config_class: Any = CONFIG_MAPPING[str(self.arguments.model.model_type)]
        self.arguments.model.config.update({name: False for name in FREEZING if hasattr(config_class, name)})
        return ContrastiveTowers(super().build_model(dataset, load_backbone))

    def build_processor(self, model: nn.Module) -> Any:
        """Joins image processor and tokenizer."""
        arguments = self.arguments.model
        config: Any = model.config
        if arguments.tokenizer != SHAPES_TOKENIZER:
            processor = load_processor(arguments)
        else:
            made: Any = PROCESSOR_MAPPING[type(config)]
            processor = made(build_image_processor(arguments, model), entity_tokenizer())
        check_vocabulary(processor.tokenizer, config.text_config, type(model).__name__)
        return processor

    def inner(self, model: nn.Module) -> nn.Module:
        """The open-vocabulary model."""
        return cast(ContrastiveTowers, model).model

    def save(self, model: nn.Module, folder: Path, state_dict: Mapping[str, torch.Tensor]) -> None:
        """Writes the open-vocabulary model; in the folder CLIP is frozen, as what learns next wants it."""
        inner: Any = self.inner(model)
        learning = {name: getattr(inner.config, name) for name in FREEZING if hasattr(inner.config, name)}
        weights = {name.removeprefix("model."): value for name, value in state_dict.items()}
        try:
            for name in learning:
                setattr(inner.config, name, True)
            inner.save_pretrained(folder, state_dict=weights)
        finally:  # the run may go on
            for name, value in learning.items():
                setattr(inner.config, name, value)
