# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Images for PRO-SCALE's processors, in both backends."""

from pathlib import Path

import numpy as np
import pytest

from hfseg.models.proscale.image_processing_pil_proscale import ProScaleImageProcessorPil
from hfseg.models.proscale.image_processing_proscale import ProScaleImageProcessor

FIXTURES = Path(__file__).parent / "fixtures" / "proscale"

BACKENDS = [ProScaleImageProcessor, ProScaleImageProcessorPil]

backends = pytest.mark.parametrize("processor_class", BACKENDS)


def photo(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
