# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What the classes of outputs share."""

from dataclasses import field
from typing import Any

__all__ = ["always_set"]


def always_set() -> Any:
    """Default of an output's field that every forward sets, so that its declared type has no None.

    `ModelOutput` demands the default None of every field but the first, set or not.

    >>> from dataclasses import dataclass
    >>> from transformers.utils import ModelOutput
    >>> @dataclass
    ... class Output(ModelOutput):
    ...     loss: float | None = None
    ...     logits: int = always_set()
    >>> Output(logits=3).to_tuple()
    (3,)
    """
    return field(default=None)
