# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Boolean masks as bits, eight pixels in a byte."""

import numpy as np
import torch
from torch import Tensor


def pack_masks(masks: Tensor) -> Tensor:
    """Packs boolean masks to bits along the width, first pixel in the highest bit (numpy's `packbits` order).

    Shape: masks (..., W) bool; result (..., ceil(W / 8)) uint8, on the same device.
    """
    if masks.device.type == "cpu":
        return torch.from_numpy(np.packbits(masks.numpy(), axis=-1))
    padding = -masks.shape[-1] % 8
    bits = torch.nn.functional.pad(masks.to(torch.float32), (0, padding)).unflatten(-1, (-1, 8))
    powers = torch.tensor([128, 64, 32, 16, 8, 4, 2, 1], dtype=torch.float32, device=masks.device)
    return (bits * powers).sum(-1).to(torch.uint8)


def unpack_masks(packed: Tensor, width: int) -> Tensor:
    """Inverse of `pack_masks`.

    Shape: packed (..., ceil(W / 8)) uint8; result (..., W) bool.
    """
    shifts = torch.arange(7, -1, -1, dtype=torch.uint8, device=packed.device)
    bits = (packed.unsqueeze(-1) >> shifts) & 1  # (..., W / 8, 8)
    return bits.flatten(-2)[..., :width].to(torch.bool)
