# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Masked reconstruction: hidden pixels alone count, and none beyond the image."""

import pytest
import torch

from hfseg.losses.masked_image import draw_masked_units, masked_reconstruction_loss, unit_pixels


def test_reconstruction_looks_at_hidden_pixels_only():
    pixels = torch.randn(2, 3, 64, 96)
    hidden = draw_masked_units(2, 6, 0.6, generator=torch.Generator().manual_seed(0))
    assert hidden.sum(1).tolist() == [4, 4]
    assert masked_reconstruction_loss(pixels, pixels, hidden, 32) == 0
    shown = ~unit_pixels(hidden, 32, 2, 3)
    assert masked_reconstruction_loss(pixels + 7 * shown, pixels, hidden, 32) == 0
    assert masked_reconstruction_loss(pixels + 7 * ~shown, pixels, hidden, 32).item() == pytest.approx(7, rel=1e-5)
    assert unit_pixels(hidden, 32, 2, 3).float().mean().item() == pytest.approx(4 / 6)


def test_reconstruction_stops_at_the_edge_of_the_image():
    pixels = torch.zeros(1, 3, 40, 33)
    predicted = torch.ones(1, 3, 64, 64)
    predicted[..., 40:, :], predicted[..., 33:] = 100, 100
    assert masked_reconstruction_loss(predicted, pixels, torch.ones(1, 4, dtype=torch.bool), 32) == 1
