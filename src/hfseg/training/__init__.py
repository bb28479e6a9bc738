# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The one training loop of the zoo, its recipes, optimisers, schedules, samplers and checkpoints."""

from .arguments import TrainingArguments, load_recipe
from .loop import NonFiniteLossError, TrainingResult, train
from .normalization import count_labelled_pixels, count_samples

__all__ = [
    "NonFiniteLossError",
    "TrainingArguments",
    "TrainingResult",
    "count_labelled_pixels",
    "count_samples",
    "load_recipe",
    "train",
]
