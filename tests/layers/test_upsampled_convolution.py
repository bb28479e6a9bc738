# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The convolution of an upsampled map at low resolution is the plain form, borders and gradients included."""

import pytest
import torch
import torch.nn.functional as F

from hfseg.layers.upsampled_convolution import UpsampledConv2d, convolve_upsampled, convolve_upsampled_plain


@pytest.mark.parametrize("scale", [1, 2, 4, 7])
@pytest.mark.parametrize("size", [(5, 7), (1, 3)])
def test_is_the_plain_form(scale, size):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 6, *size, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, 6, 3, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    large = F.interpolate(x, scale_factor=scale, mode="bilinear", align_corners=False)
    expected = F.conv2d(large, weight, padding=1)
    actual = convolve_upsampled(x, weight, scale)
    torch.testing.assert_close(actual, expected)
    towards = torch.randn(expected.shape, generator=generator, dtype=torch.float64)
    for one, other in zip(
        torch.autograd.grad((actual * towards).sum(), (x, weight)),
        torch.autograd.grad((expected * towards).sum(), (x, weight)),
    ):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("size", [(5, 7), (1, 3)])
def test_the_form_with_channels_last_is_the_plain_form(size):
    torch.manual_seed(0)
    layer = UpsampledConv2d(6, 4).double()
    x = torch.randn(2, 6, *size, dtype=torch.float64)
    expected = convolve_upsampled_plain(x, layer.weight, 2)
    torch.testing.assert_close(layer(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), expected)
    torch.testing.assert_close(convolve_upsampled(x, layer.weight, 2), expected)
