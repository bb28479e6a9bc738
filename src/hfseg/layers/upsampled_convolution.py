# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""3x3 convolution of a bilinearly upsampled map, computed at the low resolution.

A 3x3 convolution is the sum of nine 1x1 convolutions, each shifted by its tap. A 1x1 convolution and bilinear
interpolation exchange, since one mixes channels and the other pixels. So the nine products, where all the
multiplications are, run before the upsampling on `scale ** 2` times fewer pixels; what remains at the high resolution
are shifts and sums. The result is that of the plain form, borders included, up to the order of additions.
"""

import torch
import torch.nn.functional as F


def convolve_upsampled_plain(x: torch.Tensor, weight: torch.Tensor, scale: int) -> torch.Tensor:
    """Convolves the upsampled map; see `convolve_upsampled`, which gives the same with less work."""
    return F.conv2d(upsample(x, scale), weight, padding=1)


def upsample(x: torch.Tensor, scale: int) -> torch.Tensor:
    """Enlarges a map bilinearly by a whole factor, pixel centres aligned (`align_corners=False`).

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
