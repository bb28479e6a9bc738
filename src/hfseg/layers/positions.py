# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Position codes and reference points of feature maps, computed once per map size.

Everything here depends on sizes alone, so results are kept in a small cache (bypassed while a graph is traced). Cached
tensors are made outside inference mode: one made inside could not be used by a later training step.
"""

import math

import torch
from torch import nn
from transformers.pytorch_utils import compile_compatible_method_lru_cache
from transformers.utils.generic import maybe_autocast

# Sizes seen by one process: a training run with random crops uses few, evaluation with kept aspect ratio some dozens.
CACHED_SIZES = 64


@compile_compatible_method_lru_cache(maxsize=CACHED_SIZES)
def sine_positions(
    height: int,
    width: int,
    num_features: int,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    temperature: float = 10000.0,
) -> torch.Tensor:
    """Computes the normalized two-dimensional sine position code of DETR for a map without padding.

    The first half of the features encodes y, the second x; coordinates run from `2 pi / size` to `2 pi`.

    Args:
        height: Rows of the map.
        width: Columns of the map.
        num_features: Features of the code, both axes together. Must be divisible by 4.
        device: Where the code lives.
        dtype: Type of the result; the angles are always computed in float32.
        temperature: Base of the geometric progression of wavelengths.

    Returns:
        The code, to be added to tokens in row-major order.

    Shape:
        Output: `(1, height * width, num_features)`.
    """
    with torch.inference_mode(False):
        per_axis = num_features // 2
        feature = torch.arange(per_axis, device=device, dtype=torch.float32)
        wavelength = temperature ** (2 * torch.div(feature, 2, rounding_mode="floor") / per_axis)  # (F/2,)

        def encode(size: int) -> torch.Tensor:
            position = torch.arange(1, size + 1, device=device, dtype=torch.float32)
            position = position / (size + 1e-6) * (2 * math.pi)
            angle = position[:, None] / wavelength  # (size, F/2)
            return torch.stack((angle[:, 0::2].sin(), angle[:, 1::2].cos()), dim=2).flatten(1)  # (size, F/2)

        rows = encode(height)[:, None, :].expand(height, width, per_axis)
        columns = encode(width)[None, :, :].expand(height, width, per_axis)
        code = torch.cat((rows, columns), dim=-1)  # (H, W, F)
        return code.reshape(1, height * width, num_features).to(dtype)


@compile_compatible_method_lru_cache(maxsize=CACHED_SIZES)
def grid_sine_positions(
    height: int,
    width: int,
    num_features: int,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    temperature: float = 10000.0,
) -> torch.Tensor:
    """Computes RT-DETR's sine position code, which counts rows and columns and does not depend on the map's size.

    The quarters of the features are sine and cosine of the row, sine and cosine of the column.

    Args:
        height: Rows of the map.
        width: Columns of the map.
        num_features: Features of the code, both axes together. Must be divisible by 4.
        device: Where the code lives.
        dtype: Type of the result; the angles are always computed in float32.
        temperature: Base of the geometric progression of wavelengths.

    Shape:
        Output: `(1, height * width, num_features)`.
    """
    with torch.inference_mode(False):
        steps = num_features // 4
        frequency = temperature ** (-torch.arange(steps, device=device, dtype=torch.float32) / steps)  # (F/4,)
        y = (torch.arange(height, device=device, dtype=torch.float32)[:, None] * frequency)[:, None]  # (H, 1, F/4)
        x = (torch.arange(width, device=device, dtype=torch.float32)[:, None] * frequency)[None]  # (1, W, F/4)
        parts = [part.expand(height, width, steps) for part in (y.sin(), y.cos(), x.sin(), x.cos())]
        return torch.cat(parts, dim=-1).reshape(1, height * width, num_features).to(dtype)


# Wavelengths of position codes in pixels: from twice the size of a small object to beyond any image.
SHORTEST_WAVELENGTH, LONGEST_WAVELENGTH = 32.0, 2048.0


def sine_code(coordinates: torch.Tensor, num_features: int) -> torch.Tensor:
    """Computes the sine position code of points in pixels, not normalized by an image's size.

    A distance has the same code in a crop and in a whole image. The quarters of the features are sine and cosine of y,
    sine and cosine of x, for wavelengths from 32 to 2,048 pixels in geometric progression.

    Args:
        coordinates: (x, y) in pixels.
        num_features: Features of the code, both axes together. Must be divisible by 4.

    Shape:
        coordinates: `(..., 2)`; output: `(..., num_features)`, float32.
    """
    steps = num_features // 4
    exponent = torch.arange(steps, device=coordinates.device, dtype=torch.float32) / max(steps - 1, 1)
    frequency = (2 * math.pi / SHORTEST_WAVELENGTH) * (SHORTEST_WAVELENGTH / LONGEST_WAVELENGTH) ** exponent  # (F/4,)
    x, y = (axis.unsqueeze(-1) * frequency for axis in coordinates.float().unbind(-1))
    return torch.cat((y.sin(), y.cos(), x.sin(), x.cos()), dim=-1)


@compile_compatible_method_lru_cache(maxsize=CACHED_SIZES)
def pixel_sine_positions(
    height: int,
    width: int,
    stride: int,
    num_features: int,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    """Computes `sine_code` of the cells of a map, row-major.

    Args:
        height: Rows of the map.
        width: Columns of the map.
        stride: Input pixels per cell.
        num_features: Features of the code. Must be divisible by 4.
        device: Where the code lives.
        dtype: Type of the result; the angles are always computed in float32.

    Shape:
        Output: `(1, height * width, num_features)`.
    """
    with torch.inference_mode(False):
        y = (torch.arange(height, device=device, dtype=torch.float32) + 0.5) * stride
        x = (torch.arange(width, device=device, dtype=torch.float32) + 0.5) * stride
        centers = torch.stack(torch.broadcast_tensors(x[None, :], y[:, None]), dim=-1).flatten(0, 1)  # (HW, 2)
        return sine_code(centers, num_features).to(dtype).unsqueeze(0)


@compile_compatible_method_lru_cache(maxsize=CACHED_SIZES)
def pixel_centers(shapes: tuple[tuple[int, int], ...], device: torch.device) -> torch.Tensor:
    """Computes the centers of all pixels of several maps in normalized coordinates.

    Args:
        shapes: `(height, width)` of each map.
        device: Where the result lives.

    Returns:
        Centers as (x, y) in 0..1, maps one after the other, row-major.

    Shape:
        Output: `(L, 2)` with L the sum of `height * width`.
    """
    with torch.inference_mode(False):
        centers = []
        for height, width in shapes:
            y = (torch.arange(height, device=device, dtype=torch.float32) + 0.5) / height
            x = (torch.arange(width, device=device, dtype=torch.float32) + 0.5) / width
            centers.append(
                torch.stack(torch.broadcast_tensors(x[None, :], y[:, None]), dim=-1).flatten(0, 1)
            )  # (HW, 2)
        return torch.cat(centers)  # (L, 2)


@compile_compatible_method_lru_cache(maxsize=CACHED_SIZES)
def level_sizes(shapes: tuple[tuple[int, int], ...], device: torch.device) -> torch.Tensor:
    """Tabulates the sizes of several maps on a device, without copying from the host.

    Args:
        shapes: `(height, width)` of each map.
        device: Where the result lives.

    Returns:
        Sizes as (width, height): the order of (x, y) coordinates.

    Shape:
        Output: `(levels, 2)`, float32.
    """
    with torch.inference_mode(False):
        # `full` is a fill on the device; `tensor` would be a copy that waits for it.
        values = [torch.full((1,), side, dtype=torch.float32, device=device) for h, w in shapes for side in (w, h)]
        return torch.cat(values).view(-1, 2)


class FourierPositions(nn.Module):
    """Random Fourier code of positions (Tancik et al., NeurIPS 2020), as in Segment Anything.

    `code(c) = [sin z, cos z]`, `z = 2 pi (2 c - 1) G`. The matrix G is drawn once, never trained, and saved.

    Args:
        num_features: Features of the code; even.
        scale: Standard deviation of G; larger ones tell finer distances apart.
    """

    matrix: torch.Tensor

    def __init__(self, num_features: int, scale: float = 1.0):
        super().__init__()
        self.scale = scale
        self.register_buffer("matrix", scale * torch.randn(2, num_features // 2))

    def forward(self, coordinates: torch.Tensor) -> torch.Tensor:
        """Encodes (x, y), 0..1 inside the image; coordinates outside are legal.

        Computed in float32: in half precision neighboring pixels would get one code.

        Shape:
            coordinates: `(..., 2)`; output: `(..., num_features)`, in the type of the matrix.
        """
        with maybe_autocast(coordinates.device.type, enabled=False):
            angles = 2 * math.pi * ((2 * coordinates.float() - 1) @ self.matrix.float())
            return torch.cat((angles.sin(), angles.cos()), dim=-1).to(self.matrix.dtype)

    def of_map(self, height: int, width: int) -> torch.Tensor:
        """Encodes the pixel centers of a map, row-major.

        Shape:
            Output: `(1, height * width, num_features)`.
        """
        return self(pixel_centers(((height, width),), self.matrix.device)).unsqueeze(0)
