# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Small vectorized pieces: first maximum, histogram, and exact sums, without a wait for the accelerator."""

import torch
from torch import Tensor


def first_argmax(values: Tensor, ramp: Tensor, scratch: Tensor) -> Tensor:
    """Index of the first maximum over dim 0, several times faster than `argmax` on CPU (inner loops stay contiguous).

    Shape: values (N, ...), ramp (N, 1, ...) = N, N-1, ..., 1, scratch like values (overwritten); result (...), int64.
    """
    torch.eq(values, values.amax(0), out=scratch)
    scratch.mul_(ramp)
    # Where all values are NaN nothing matches; the clamp keeps the index legal.
    return (len(values) - scratch.amax(0)).to(torch.int64).clamp_(max=len(values) - 1)


def descending(length: int, device: torch.device) -> Tensor:
    """N, N-1, ..., 1 for `first_argmax`. Shape: result (N, 1, 1), float32."""
    return torch.arange(length, 0, -1, dtype=torch.float32, device=device).view(-1, 1, 1)


def count(indices: Tensor, length: int) -> Tensor:
    """Histogram of indices in [0, length), int64 (bincount would synchronize an accelerator)."""
    indices = indices.flatten()
    if indices.device.type == "cpu":
        return torch.bincount(indices, minlength=length)
    counts = torch.zeros(length, dtype=torch.int64, device=indices.device)
    return counts.scatter_add_(0, indices, torch.ones_like(indices))


def precise(tensor: Tensor) -> Tensor:
    """The tensor in the most exact float type of its device."""
    return tensor.to(torch.float32 if tensor.device.type == "mps" else torch.float64)
