# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Training and evaluation mode of networks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import nn


@contextlib.contextmanager
def evaluation_mode(*models: nn.Module) -> Iterator[None]:
    """Puts models into evaluation mode for a block, and every part back into its own mode after."""
    modes = [(part, part.training) for model in models for part in model.modules()]
    for model in models:
        model.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training
