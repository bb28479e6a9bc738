# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Safe picture loading for data readers; the code lives in `hfseg.images`, which image processors share."""

from ..images import DEFAULT_MAX_PIXELS, convert_to_rgb, load_image

__all__ = ["DEFAULT_MAX_PIXELS", "convert_to_rgb", "load_image"]
