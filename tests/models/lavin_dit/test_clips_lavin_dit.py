# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Images and clips as the pipeline takes them: one shape, transparent pixels on white, wrong values refused."""

import numpy as np
import pytest
import torch
from PIL import Image

from hfseg.models.lavin_dit.clips_lavin_dit import levels, to_clip, to_pixels


def test_transparent_pixels_lie_on_white_in_8_bits_and_floats():
    """Black at half opacity is middle gray, at none white."""
    floats = torch.zeros(4, 1, 2)
    floats[3] = torch.tensor([[0.5, 0.0]])
    assert to_clip(floats)[0, :, 0].tolist() == [[0.5, 1.0]] * 3
    pixels = np.zeros((1, 2, 4), np.uint8)
    pixels[..., 3] = [[128, 0]]
    for value in (pixels, Image.fromarray(pixels, "RGBA"), torch.from_numpy(pixels).permute(2, 0, 1)):
        shown = to_clip(value)[0, :, 0]
        assert (shown[:, 0].int() - 127).abs().max() <= 1 and (shown[:, 1] == 255).all()


def test_gray_gets_three_channels_and_frames_stack():
    gray = np.arange(6, dtype=np.uint8).reshape(2, 3)
    assert torch.equal(to_clip(gray)[0], torch.from_numpy(gray).expand(3, -1, -1))
    assert to_clip([gray, gray]).shape == (2, 3, 2, 3)
    with pytest.raises(ValueError, match="differ in size"):
        to_clip([gray, gray[:1]])
    with pytest.raises(ValueError, match="1, 3 and 4"):
        to_clip(np.zeros((2, 3, 2), np.uint8))
    with pytest.raises(ValueError, match=r"floats must be in \[0, 1\]"):
        to_clip(torch.full((3, 2, 2), 2.0))


def test_pixels_and_levels():
    clip = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 1, 1, 3).expand(1, 3, 1, 3)
    pixels = to_pixels(clip, 1, 3)
    assert pixels.shape == (3, 1, 1, 3) and torch.allclose(pixels[0, 0, 0], torch.tensor([-1.0, -0.6, 1.0]))
    # Truncated, as the authors do.
    assert levels(torch.full((3, 1, 1), 0.999)).tolist() == [[[254, 254, 254]]]
