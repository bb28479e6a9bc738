# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Auto classes of tasks that transformers has none for; `hfseg.auto` fills them."""

from collections import OrderedDict
from typing import Any

from transformers.models.auto.auto_factory import _BaseAutoModelClass, _LazyAutoMapping
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

__all__ = ["AutoModelForOpenVocabularySegmentation", "AutoModelForReferringImageSegmentation"]


class AutoModelForOpenVocabularySegmentation(_BaseAutoModelClass):
    """Loads models that segment an image into classes given by their names."""

    _model_mapping: Any = _LazyAutoMapping(CONFIG_MAPPING_NAMES, OrderedDict())


class AutoModelForReferringImageSegmentation(_BaseAutoModelClass):
    """Loads models that segment what an expression refers to: `logits` of `(images, expressions, height, width)`."""

    _model_mapping: Any = _LazyAutoMapping(CONFIG_MAPPING_NAMES, OrderedDict())
