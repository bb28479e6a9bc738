# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""3x3 convolution of a bilinearly upsampled map, computed at the low resolution.

A 3x3 convolution is the sum of nine 1x1 convolutions, each shifted by its tap. A 1x1 convolution and bilinear
interpolation exchange, since one mixes channels and the other pixels. So the nine products, where all the
multiplications are, run before the upsampling on `scale ** 2` times fewer pixels; what remains at the high resolution
are shifts and sums:

    conv(upsample(x)) = sum over taps k of  shift_k(upsample(W_k x))

The result is that of the plain form (`convolve_upsampled_plain`), borders included, up to the order of additions. Two
layouts have a form of their own: `convolve_upsampled`, channels first, any whole factor, interpolates the products;
`UpsampledConv2d`, channels last, a factor of two, writes doubling, shift and sum along one axis as one matrix with few
distinct entries. On a CPU the latter was the faster one at all of CRIS's sizes, although it multiplies by zeros.
"""

import torch
import torch.nn.functional as F
from torch import nn
from transformers.pytorch_utils import compile_compatible_method_lru_cache

from .positions import CACHED_SIZES


def convolve_upsampled_plain(x: torch.Tensor, weight: torch.Tensor, scale: int) -> torch.Tensor:
    """Convolves the upsampled map; see `convolve_upsampled`, which gives the same with less work."""
    return F.conv2d(upsample(x, scale), weight, padding=1)


def upsample(x: torch.Tensor, scale: int) -> torch.Tensor:
    """Enlarges a map bilinearly by a whole factor, pixel centers aligned (`align_corners=False`).

    Shape:
        `(B, C, h, w)` -> `(B, C, scale h, scale w)`.
    """
    size = (scale * x.shape[-2], scale * x.shape[-1])
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


def convolve_upsampled(x: torch.Tensor, weight: torch.Tensor, scale: int) -> torch.Tensor:
    """Convolves (3x3, zero padding 1, no bias) the map that bilinear upsampling by `scale` makes of `x`.

    Rows are upsampled, shifted and summed first, columns after: both steps are separable, so the maps at full
    resolution are three times, not nine times, as many as the result's.

    Shape:
        x: `(B, C, h, w)`; weight: `(O, C, 3, 3)`; output: `(B, O, scale h, scale w)`.
    """
    channels = weight.shape[0]
    height, width = scale * x.shape[-2], scale * x.shape[-1]
    # Rows of the stacked 1x1 kernel: vertical tap first, then horizontal tap, then channel.
    taps = weight.permute(2, 3, 0, 1).reshape(9 * channels, -1, 1, 1)
    products = F.conv2d(x, taps)  # (B, 9 O, h, w)
    products = F.interpolate(products, size=(height, x.shape[-1]), mode="bilinear", align_corners=False)
    above, middle, below = products.split(3 * channels, dim=1)  # (B, 3 O, scale h, w) per vertical tap
    # The tap above reads one row up: its values move down. What comes in from outside the map is zero.
    rows = middle + F.pad(above[:, :, :-1], (0, 0, 1, 0)) + F.pad(below[:, :, 1:], (0, 0, 0, 1))
    rows = F.interpolate(rows, size=(height, width), mode="bilinear", align_corners=False)
    left, middle, right = rows.split(channels, dim=1)  # (B, O, scale h, scale w) per horizontal tap
    return middle + F.pad(left[:, :, :, :-1], (1, 0)) + F.pad(right[:, :, :, 1:], (0, 1))


@compile_compatible_method_lru_cache(maxsize=CACHED_SIZES)
def doubling_matrix(size: int, device: torch.device, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Tabulates, along one axis, bilinear doubling followed by the shifts of a three-tap kernel.

    Entry `(Y, 3 i + k)` says how much of product k at small position i arrives at large position Y: the weight of i in
    the doubled signal (half-pixel centers, repeated at the borders) at position Y + k - 1, zero outside.

    Shape:
        Output: `(2 * size, 3 * size)`.
    """
    with torch.inference_mode(False):
        large = torch.arange(2 * size, device=device, dtype=torch.float32)
        small = torch.arange(size, device=device, dtype=torch.float32)
        shift = torch.arange(-1, 2, device=device, dtype=torch.float32)
        position = large[:, None] + shift  # (2 size, 3)
        inside = (position >= 0) & (position < 2 * size)
        source = (0.5 * position - 0.25).clamp(0, size - 1)
        weight = (1 - (source[:, None, :] - small[:, None]).abs()).clamp(min=0)  # (2 size, size, 3)
        return (weight * inside[:, None, :]).flatten(1).to(dtype)


class UpsampledConv2d(nn.Conv2d):
    """3x3 convolution (padding 1, no bias) of a map that is first doubled bilinearly (`align_corners=False`).

    It has the parameters of the plain convolution. Input and output have channels last, which is the layout of both
    matrix products.

    Args:
        in_channels: Channels of the small map.
        out_channels: Channels of the large map.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(in_channels, out_channels, 3, padding=1, bias=False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Doubles and convolves.

        Shape:
            features: `(B, h, w, C_in)`; output: `(B, 2 h, 2 w, C_out)`.
        """
        height, width = features.shape[1:3]
        taps = self.weight.permute(3, 2, 0, 1).flatten(0, 2)  # (kx ky C_out, C_in)
        products = F.linear(features, taps).unflatten(-1, (3, -1))  # (B, h, w, 3, ky C_out)
        across = doubling_matrix(width, features.device, products.dtype)
        wide = across @ products.flatten(2, 3)  # (B, h, 2 w, ky C_out)
        wide = wide.unflatten(-1, (3, -1)).transpose(2, 3)  # (B, h, 3, 2 w, C_out)
        down = doubling_matrix(height, features.device, wide.dtype)
        channels = wide.shape[-1]
        large = down @ wide.flatten(1, 2).flatten(2)  # (B, 2 h, 2 w C_out)
        return large.unflatten(-1, (-1, channels))
