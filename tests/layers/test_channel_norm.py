# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""LayerNorm over channels keeps the memory format."""

import torch

from hfseg.layers.channel_norm import ChannelLayerNorm


def test_channel_norm_keeps_channels_last():
    x = torch.randn(2, 8, 5, 6).to(memory_format=torch.channels_last)
    norm = ChannelLayerNorm(8)
    torch.nn.init.normal_(norm.weight)
    y = norm(x)
    assert y.is_contiguous(memory_format=torch.channels_last)
    mean, deviation = x.mean(1, keepdim=True), x.var(1, keepdim=True, unbiased=False).add(1e-6).sqrt()
    torch.testing.assert_close(y, (x - mean) / deviation * norm.weight[:, None, None])
