# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""TensorFlow's padding for images of any size."""

import pytest
import torch
from transformers import TimmBackboneConfig

from hfseg.models.backbone import build_backbone

timm = pytest.importorskip("timm")


def timm_config(network: str, **fields) -> dict:
    return {"model_type": "timm_backbone", "backbone": network, "out_indices": [1, 2, 3, 4], **fields}


@pytest.mark.parametrize("size", [(64, 96), (33, 47), (5, 3), (1, 2)])
@pytest.mark.parametrize(("kernel", "stride", "dilation"), [(3, 2, 1), (5, 2, 1), (3, 1, 2), (4, 3, 1), (1, 2, 1)])
def test_tensorflows_padding_is_timms(size, kernel, stride, dilation):
    """In inference our form, in training timm's own: the same, bit by bit, for sizes that no stride divides."""
    from timm.layers import Conv2dSame

    from hfseg.models.timm_convolution import AnySizeConv2dSame

    theirs = Conv2dSame(2, 3, kernel, stride, dilation=dilation)
    ours = AnySizeConv2dSame(2, 3, kernel, stride, dilation=dilation)
    ours.load_state_dict(theirs.state_dict())
    pixels = torch.randn(2, 2, *size)
    with torch.no_grad():
        assert torch.equal(ours(pixels), theirs(pixels))
    assert torch.equal(ours(pixels), theirs(pixels))


def test_a_network_with_tensorflows_padding_is_exported_once_for_all_sizes():
    config = TimmBackboneConfig(backbone="test_efficientnet", out_indices=[1, 2])
    backbone = build_backbone(config)
    assert not any(type(module).__name__ == "AnySizeConv2dSame" for module in backbone.modules())
    config = TimmBackboneConfig(**timm_config("tf_efficientnet_lite0", stage_blocks=[1, 1, 1, 1, 1, 1, 0]))
    backbone = build_backbone(config).eval()
    free = torch.export.Dim.DYNAMIC
    program = torch.export.export(
        backbone, (torch.randn(2, 3, 64, 96),), dynamic_shapes={"pixel_values": {0: free, 2: free, 3: free}}
    ).module()
    for size in ((2, 3, 64, 96), (1, 3, 97, 130)):
        pixels = torch.randn(*size)
        with torch.no_grad():
            for actual, expected in zip(program(pixels).feature_maps, backbone(pixels).feature_maps, strict=True):
                torch.testing.assert_close(actual, expected)
