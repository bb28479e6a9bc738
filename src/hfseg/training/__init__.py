# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The one training loop of the zoo, its recipes, optimizers, schedules, samplers and checkpoints.

Names are imported when they are first used: recipes can be read without torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .arguments import TrainingArguments, load_recipe
    from .loop import NonFiniteLossError, TrainingResult, train
    from .normalization import count_labeled_pixels, count_samples

__all__ = [
    "NonFiniteLossError",
    "TrainingArguments",
    "TrainingResult",
    "count_labeled_pixels",
    "count_samples",
    "load_recipe",
    "train",
]

_EXPORTS = {
    "NonFiniteLossError": "loop",
    "TrainingArguments": "arguments",
    "TrainingResult": "loop",
    "count_labeled_pixels": "normalization",
    "count_samples": "normalization",
    "load_recipe": "arguments",
    "train": "loop",
}


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_EXPORTS[name]}", __name__), name)
