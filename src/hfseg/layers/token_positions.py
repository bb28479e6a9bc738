# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Position codes of whole-number positions, as the first transformer had them, for sequences and grids.

They depend on sizes alone and are kept in a small cache, see `layers.positions`.
"""

import math

import torch
from transformers.pytorch_utils import compile_compatible_method_lru_cache

from .positions import CACHED_SIZES


@compile_compatible_method_lru_cache(maxsize=CACHED_SIZES)
def sequence_positions(
    length: int, num_features: int, device: torch.device, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """Computes the sine code of positions 0, 1, ... (Vaswani et al. 2017, section 3.5).

    Feature 2i is the sine, feature 2i + 1 the cosine of `position / 10000 ** (2i / num_features)`.

    Args:
        length: Number of positions.
        num_features: Features of the code, even.
        device: Where the code lives.
        dtype: Type of the result; angles are computed in float32.

    Shape:
        Output: `(length, num_features)`.
    """
    with torch.inference_mode(False):
        even = torch.arange(0, num_features, 2, device=device, dtype=torch.float32)
        frequency = torch.exp(even * -(math.log(10000.0) / num_features))  # (F/2,)
        angle = torch.arange(length, device=device, dtype=torch.float32)[:, None] * frequency
        return torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(1).to(dtype)  # (length, F)


@compile_compatible_method_lru_cache(maxsize=CACHED_SIZES)
def grid_positions(
    height: int, width: int, num_features: int, device: torch.device, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """Computes the code of a grid: the column in the first half of the features, the row in the second.

    Args:
        height: Rows of the grid.
        width: Columns of the grid.
        num_features: Features of the code, both axes together. Must be divisible by 4.
        device: Where the code lives.
        dtype: Type of the result.

    Shape:
        Output: `(height * width, num_features)`, row-major.
    """
    with torch.inference_mode(False):
        half = num_features // 2
        columns = sequence_positions(width, half, device, dtype)[None, :, :].expand(height, width, half)
        rows = sequence_positions(height, half, device, dtype)[:, None, :].expand(height, width, half)
        return torch.cat((columns, rows), dim=-1).reshape(height * width, num_features)


@compile_compatible_method_lru_cache(maxsize=CACHED_SIZES)
def coordinate_maps(height: int, width: int, device: torch.device, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Computes maps of x and y that run from -1 in the first to 1 in the last pixel (Liu et al. 2018, "CoordConv").

    Shape:
        Output: `(1, 2, height, width)`.
    """
    with torch.inference_mode(False):
        # Not linspace, which makes the size a constant of exported programs.
        x = torch.arange(width, device=device, dtype=torch.float32) * (2 / max(width - 1, 1)) - 1
        y = torch.arange(height, device=device, dtype=torch.float32) * (2 / max(height - 1, 1)) - 1
        return torch.stack((x.expand(height, width), y[:, None].expand(height, width)))[None].to(dtype)
