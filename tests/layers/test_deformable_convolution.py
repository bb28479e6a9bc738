# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Deformable convolution: three forms of one sum, against a plain convolution and a loop over the definition."""

import math

import pytest
import torch
import torch.nn.functional as F

from hfseg.layers.deformable_convolution import FORMS, ModulatedDeformableConv2d


def example(batch_size=2, channels=3, out_channels=4, height=5, width=6, dtype=torch.float64):
    """Draws a map, offsets of several pixels, modulation and a kernel."""
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(shape, generator=generator, dtype=dtype)  # noqa: E731
    offsets = 3 * draw(batch_size, 18, height, width)
    modulation = draw(batch_size, 9, height, width).sigmoid()
    return draw(batch_size, channels, height, width), offsets, modulation, draw(out_channels, channels, 3, 3)


def pixel(x, row, column):
    """Bilinear value at a fractional place, zero outside."""
    top, left = math.floor(row), math.floor(column)
    value = torch.zeros(x.shape[0], dtype=x.dtype)
    for y, weight_y in ((top, 1 - (row - top)), (top + 1, row - top)):
        for z, weight_z in ((left, 1 - (column - left)), (left + 1, column - left)):
            if 0 <= y < x.shape[1] and 0 <= z < x.shape[2]:
                value += weight_y * weight_z * x[:, y, z]
    return value


@pytest.mark.parametrize("form", FORMS)
def test_is_the_definition(form):
    x, offsets, modulation, weight = example()
    expected = torch.zeros(2, 4, 5, 6, dtype=torch.float64)
    for image in range(2):
        for row in range(5):
            for column in range(6):
                for tap in range(9):
                    dy, dx = offsets[image, 2 * tap : 2 * tap + 2, row, column].tolist()
                    value = pixel(x[image], row + tap // 3 - 1 + dy, column + tap % 3 - 1 + dx)
                    share = weight[:, :, tap // 3, tap % 3] @ value
                    expected[image, :, row, column] += modulation[image, tap, row, column] * share
    torch.testing.assert_close(FORMS[form](x, offsets, modulation, weight), expected)


@pytest.mark.parametrize("form", FORMS)
def test_gradients_are_those_of_the_operator(form):
    def gradients(name):
        tensors = [tensor.requires_grad_() for tensor in example()]
        return torch.autograd.grad(FORMS[name](*tensors).square().sum(), tensors)

    for actual, expected in zip(gradients(form), gradients("torchvision")):
        torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("form", ["auto", *FORMS])
def test_begins_as_a_convolution(form):
    x, offsets, modulation, _ = example(dtype=torch.float32)
    layer = ModulatedDeformableConv2d(3, 4, form=form)
    torch.testing.assert_close(
        layer(x, torch.zeros_like(offsets), torch.ones_like(modulation)), F.conv2d(x, layer.weight, padding=1)
    )


@pytest.mark.parametrize("form", ["auto", *FORMS])
def test_half_precision_computes_in_float32(form):
    """Weights and inputs in bfloat16, or autocast: the sum is that of float32 on the rounded numbers."""
    x, offsets, modulation, weight = (tensor.bfloat16() for tensor in example())
    layer = ModulatedDeformableConv2d(3, 4, form=form).bfloat16()
    with torch.no_grad():
        layer.weight.copy_(weight)
        expected = FORMS["torchvision"](*(tensor.float() for tensor in (x, offsets, modulation, weight)))
        actual = layer(x, offsets, modulation)
        assert actual.dtype == torch.bfloat16
        torch.testing.assert_close(actual.float(), expected, rtol=1e-2, atol=1e-2)
        with torch.autocast("cpu", torch.bfloat16):
            torch.testing.assert_close(layer.float()(x.float(), offsets, modulation), expected, rtol=1e-5, atol=1e-5)
