# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Layer normalization of maps, over their channels."""

import torch
import torch.nn.functional as F
from torch import nn


class ChannelLayerNorm(nn.LayerNorm):
    """LayerNorm over the channels of every pixel.

    Maps that are channels-last in memory stay so, and then nothing is copied.

    Shape:
        Input and output: `(B, C, H, W)`.
    """

    def __init__(self, channels: int, eps: float = 1e-6):
        super().__init__(channels, eps=eps)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)
