# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Packed masks come back."""

import pytest
import torch

from hfseg import postprocess


@pytest.mark.parametrize("width", [1, 7, 8, 9, 64])
def test_packed_masks_round_trip(width):
    masks = torch.rand(3, 5, width) > 0.5
    packed = postprocess.pack_masks(masks)
    assert packed.shape == (3, 5, (width + 7) // 8)
    assert torch.equal(postprocess.unpack_masks(packed, width), masks)
