# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Moving of diffusers models without a warning about nothing."""

import logging
from typing import Any

__all__ = ["QuietMoves"]


class QuietMoves:
    """Mixin before `ModelMixin`, whose `to(dtype)` warns of modules to be kept in float32 even where there are none."""

    def to(self, *args: Any, **kwargs: Any) -> Any:
        """Moves or casts the model; see `torch.nn.Module.to`."""
        if self._keep_in_fp32_modules:  # type: ignore[attr-defined]
            return super().to(*args, **kwargs)  # type: ignore[misc]
        logger = logging.getLogger("diffusers.models.modeling_utils")
        logger.addFilter(_says_something)
        try:
            return super().to(*args, **kwargs)  # type: ignore[misc]
        finally:
            logger.removeFilter(_says_something)


def _says_something(record: logging.LogRecord) -> bool:
    return "should be kept in float32: []" not in record.getMessage()
