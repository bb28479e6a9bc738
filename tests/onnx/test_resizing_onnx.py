# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Resizing against `torch.nn.functional.interpolate`."""

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from hfseg.onnx.resizing import cubic_to, resize_channels, resize_maps
from hfseg.postprocess import resize_class_logits

MAPS = np.random.default_rng(0).normal(size=(3, 9, 13)).astype(np.float32)


def torch_resized(size, **options):
    return interpolate(torch.from_numpy(MAPS)[None], size, **options)[0].numpy()


@pytest.mark.parametrize("size", [(20, 31), (5, 7), (9, 40), (1, 1)])
def test_maps_and_channels(size):
    expected = torch_resized(size, mode="bilinear", align_corners=False)
    np.testing.assert_allclose(resize_maps(MAPS, (36, 52), (36, 52), size), expected, atol=1e-5)
    smooth = torch_resized(size, mode="bilinear", align_corners=False, antialias=True)
    np.testing.assert_allclose(resize_channels(MAPS, size), smooth, atol=1e-5)


def test_padding_is_cut_away():
    """As if the whole input were resized by the same factors, and its beginning taken: 60 x 82 of 72 x 104 pixels."""
    whole = interpolate(torch.from_numpy(MAPS)[None], (72, 104), mode="bilinear")
    expected = whole[0, :, :59, :81].numpy()  # the last row and column repeat the last pixel's center
    np.testing.assert_allclose(resize_maps(MAPS, (36, 52), (30, 41), (60, 82))[:, :59, :81], expected, atol=1e-5)


@pytest.mark.parametrize("output", [(50, 60), (7, 90)])
def test_padded_maps_are_those_of_the_torch_side(output):
    (expected,) = resize_class_logits(torch.from_numpy(MAPS)[None], (36, 52), [(30, 41)], [output])
    np.testing.assert_allclose(resize_maps(MAPS, (36, 52), (30, 41), output), expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("size", [(20, 31), (9, 13), (33, 14)])
def test_cubic(size):
    expected = torch_resized(size, mode="bicubic", align_corners=True)
    np.testing.assert_allclose(cubic_to(MAPS, size), expected, atol=1e-5)
