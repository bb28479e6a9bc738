# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Deep images for MedDenseViT's processors, in both backends."""

import numpy as np

from hfseg import MedDenseViTImageProcessor, MedDenseViTImageProcessorPil

BOTH = [MedDenseViTImageProcessor, MedDenseViTImageProcessorPil]

SIZE = {"height": 24, "width": 32}


def deep(height=40, width=50) -> np.ndarray:
    """A 12-bit radiograph: a smooth pattern that 8 bits would make steps of."""
    rows, columns = np.mgrid[:height, :width]
    return (2000 + 3 * rows + 2 * columns + 500 * np.sin(columns / 7)).astype(np.uint16)
