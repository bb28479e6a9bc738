# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Processor of Unpair-Seg: images and prompts, names of classes as texts, results."""

from typing import Any

import torch
from transformers.image_processing_base import BatchFeature
from transformers.processing_utils import Unpack

from ...processing.vocabulary import OpenVocabularyProcessor
from ...processing.vocabulary import OpenVocabularyProcessorKwargs as UnpairSegProcessorKwargs


class UnpairSegProcessor(OpenVocabularyProcessor):
    """Joins `UnpairSegImageProcessor` and CLIP's tokenizer.

    Args:
        image_processor: Of images, prompts and results.
        tokenizer: `CLIPTokenizer`; texts longer than its `model_max_length` are cut.

    Raises:
        ValueError: The tokenizer has no vocabulary.
    """

    valid_processor_kwargs = UnpairSegProcessorKwargs

    def __init__(self, image_processor=None, tokenizer=None, **kwargs):
        super().__init__(image_processor, tokenizer, **kwargs)

    def __call__(
        self,
        images: Any = None,
        text: str | list[str] | None = None,
        input_points: Any = None,
        input_labels: Any = None,
        input_boxes: Any = None,
        segmentation_maps: Any = None,
        **kwargs: Unpack[UnpairSegProcessorKwargs],
    ) -> BatchFeature:
        """Prepares images with prompts, texts, or both.

        Args:
            images: See the image processor.
            text: Texts, one per class. For classes with synonyms and templates use `embed_labels`.
            input_points: See the image processor.
            input_labels: Likewise.
            input_boxes: Likewise.
            segmentation_maps: Likewise.
            **kwargs: Of image processor and tokenizer.

        Raises:
            ValueError: If neither images nor texts are given, or anything does not fit.
        """
        beside = {
            "segmentation_maps": segmentation_maps,
            "input_points": input_points,
            "input_labels": input_labels,
            "input_boxes": input_boxes,
        }
        return self.prepare(images, text, beside, **kwargs)

    def post_process_masks(self, *args: Any, **kwargs: Any) -> list[torch.Tensor]:
        """See `UnpairSegImageProcessor.post_process_masks`."""
        return self.image_processor.post_process_masks(*args, **kwargs)

    def post_process_mask_generation(self, *args: Any, **kwargs: Any) -> list[dict[str, Any]]:
        """See `UnpairSegImageProcessor.post_process_mask_generation`."""
        return self.image_processor.post_process_mask_generation(*args, **kwargs)


__all__ = ["UnpairSegProcessor"]
