# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""A 3x3 convolution of a bilinearly doubled map, computed with a quarter of the multiplications.

Doubling and convolution are linear, and doubling acts on every channel alike. So the nine taps of the kernel can be
applied first, as products at the small size, and the nine products doubled, shifted and added afterwards:

    conv(double(x)) = sum over taps k of  shift_k(double(W_k x))

`W_k x` costs 9 C_in C_out per small pixel instead of per large one. Doubling, shift and sum along one axis are one
matrix with few distinct entries; two matrix products do both axes. The result is that of the plain form up to the
order of additions, borders included.

`layers.upsampled_convolution` follows the same idea for any whole factor, interpolating the products. With channels
last and a factor of two the matrices here were the faster form on CPU at all of CRIS's sizes, although they multiply by
zeros.
"""

import torch
import torch.nn.functional as F
from torch import nn
from transformers.pytorch_utils import compile_compatible_method_lru_cache

from .positions import CACHED_SIZES


@compile_compatible_method_lru_cache(maxsize=CACHED_SIZES)
def doubling_matrix(size: int, device: torch.device, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Tabulates, along one axis, bilinear doubling followed by the shifts of a three-tap kernel.

    Entry `(Y, 3 i + k)` says how much of product k at small position i arrives at large position Y: the weight of i in
    the doubled signal (half-pixel centres, repeated at the borders) at position Y + k - 1, zero outside.

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


def upsampled_convolution(features: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Computes the same in the plain form, to compare with.

    Shape:
        features: `(B, C_in, h, w)`; weight: `(C_out, C_in, 3, 3)`; output: `(B, C_out, 2 h, 2 w)`.
    """
    doubled = F.interpolate(features, scale_factor=2, mode="bilinear", align_corners=False)
    return F.conv2d(doubled, weight, padding=1)
