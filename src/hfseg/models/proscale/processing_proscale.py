# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Processor of open-vocabulary PRO-SCALE: images, names of classes as texts, results."""

from ...processing.vocabulary import OpenVocabularyProcessor
from ...processing.vocabulary import OpenVocabularyProcessorKwargs as ProScaleProcessorKwargs


class ProScaleProcessor(OpenVocabularyProcessor):
    """Joins `ProScaleImageProcessor` and CLIP's tokenizer, for `ProScaleForOpenVocabularySegmentation`.

    Args:
        image_processor: Of images and results.
        tokenizer: `CLIPTokenizer`; texts longer than its `model_max_length` are cut.

    Raises:
        ValueError: The tokenizer has no vocabulary.
    """

    valid_processor_kwargs = ProScaleProcessorKwargs

    def __init__(self, image_processor=None, tokenizer=None, **kwargs):
        super().__init__(image_processor, tokenizer, **kwargs)


__all__ = ["ProScaleProcessor"]
