# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""TensorFlow's "same" padding for images of any size in one exported program. Imports timm: load it when needed."""

import torch
import torch.nn.functional as F
from timm.layers import Conv2dSame

from ..layers.windows import gathers


class AnySizeConv2dSame(Conv2dSame):
    """timm's convolution with TensorFlow's padding, which does not ask how large the map is.

    A map of n cells gets `(-n mod s) + K - s` zeros for stride s and a kernel that spans K cells, the odd one at the
    end. timm rounds and compares sizes instead; each of these questions, asked at each layer, becomes a condition on
    the size of the image.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Convolves. Shape: `(B, C, h, w)` to `(B, D, ceil(h / s), ceil(w / s))`."""
        spans = [(kernel - 1) * dilation + 1 for kernel, dilation in zip(self.kernel_size, self.dilation)]
        if not gathers() or any(span < stride for span, stride in zip(spans, self.stride)):
            return super().forward(x)
        padding: list[int] = []
        for size, span, stride in zip(x.shape[-2:], spans, self.stride):
            total = span - stride + (-size % stride if stride > 1 else 0)
            padding = [total // 2, total - total // 2, *padding]  # the last axis first
        return F.conv2d(F.pad(x, padding), self.weight, self.bias, self.stride, (0, 0), self.dilation, self.groups)
