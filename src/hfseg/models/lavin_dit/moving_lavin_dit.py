# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Moving of diffusers models without a warning about nothing."""

import logging
from typing import TYPE_CHECKING, Any

__all__ = ["QuietMoves"]


if TYPE_CHECKING:
    from diffusers import ModelMixin
else:
    ModelMixin = object


class QuietMoves(ModelMixin):
    """Mixin before `ModelMixin`, whose `to(dtype)` warns of modules to be kept in float32 even where there are none."""

    def to(self, *args: Any, **kwargs: Any) -> Any:
        """Moves or casts the model; see `torch.nn.Module.to`."""
        if getattr(self, "_keep_in_fp32_modules", None):
            return super().to(*args, **kwargs)
        logger = logging.getLogger("diffusers.models.modeling_utils")
        logger.addFilter(_says_something)
        try:
            return super().to(*args, **kwargs)
        finally:
            logger.removeFilter(_says_something)


def _says_something(record: logging.LogRecord) -> bool:
    return "should be kept in float32: []" not in record.getMessage()
