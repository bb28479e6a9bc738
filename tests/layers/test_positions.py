# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Position codes and reference points against transformers and closed forms."""

import pytest
import torch
from transformers.models.mask2former.modeling_mask2former import Mask2FormerSinePositionEmbedding

from hfseg.layers.positions import grid_sine_positions, level_sizes, pixel_centers, sine_positions

CPU = torch.device("cpu")


@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 3), (25, 34)])
@pytest.mark.parametrize("num_features", [8, 64])
def test_sine_positions_are_transformers(height, width, num_features):
    theirs = Mask2FormerSinePositionEmbedding(num_position_features=num_features // 2, normalize=True)
    expected = theirs((1, num_features, height, width), CPU, torch.float32)
    if expected.dim() == 4:
        expected = expected.flatten(2).transpose(1, 2)
    actual = sine_positions(height, width, num_features, CPU)
    assert actual.shape == (1, height * width, num_features)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)


def test_last_row_and_column_are_a_full_turn():
    code = sine_positions(3, 4, 8, CPU).view(3, 4, 8)
    torch.testing.assert_close(code[-1, :, :2], torch.tensor([0.0, 1.0]).expand(4, 2), rtol=0, atol=1e-5)
    torch.testing.assert_close(code[:, -1, 4:6], torch.tensor([0.0, 1.0]).expand(3, 2), rtol=0, atol=1e-5)
    assert torch.equal(code[1, :, :4], code[1, :1, :4].expand(4, -1))  # y does not depend on the column


def test_pixel_centers():
    centers = pixel_centers(((1, 2), (2, 1)), CPU)
    assert centers.tolist() == [[0.25, 0.5], [0.75, 0.5], [0.5, 0.25], [0.5, 0.75]]


def test_level_sizes_are_width_height():
    assert level_sizes(((3, 4), (6, 8)), CPU).tolist() == [[4.0, 3.0], [8.0, 6.0]]


def test_a_code_made_in_inference_mode_can_be_trained_with():
    with torch.inference_mode():
        sine_positions(7, 5, 12, CPU)
    layer = torch.nn.Linear(12, 1)
    layer(sine_positions(7, 5, 12, CPU)).sum().backward()
    assert layer.weight.grad is not None


def test_grid_code_is_rt_detrs():
    from transformers.models.rt_detr.modeling_rt_detr import build_2d_sinusoidal_position_embedding

    code = grid_sine_positions(5, 7, 32, torch.device("cpu"))
    expected = build_2d_sinusoidal_position_embedding(5, 7, 32)
    torch.testing.assert_close(code[0], expected, rtol=1e-5, atol=1e-5)
