# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""VPNeXt's configuration: published sizes, and configurations that cannot be."""

import pytest
import torch

from hfseg import VPNeXtConfig, VPNeXtForSemanticSegmentation
from vpnext_models import BEIT, DINOV2, DINOV3, tiny_config


@pytest.mark.parametrize(
    ("fields", "head", "vcr"),
    [
        ({}, 36.7, 21.9),
        ({"hiclr_channels": 256, "hiclr_context_channels": 256}, 7.8, 21.9),
        ({"use_vitup": False}, None, 21.9),
    ],
    ids=["vpnext", "lite", "vcr"],
)
def test_parameters_of_the_published_sizes(fields, head, vcr):
    """Millions, as worked out from the paper's cost table."""
    with torch.device("meta"):
        model = VPNeXtForSemanticSegmentation(VPNeXtConfig(num_labels=59, **fields))
    count = {name: sum(p.numel() for p in part.parameters()) / 1e6 for name, part in model.model.named_children()}
    classifier = sum(p.numel() for p in model.classifier.parameters()) / 1e6
    assert count["backbone"] == pytest.approx(303.1, abs=0.5)
    if head is not None:
        assert count["vitup"] + count["final_norm"] + classifier == pytest.approx(head, abs=0.05)
    assert sum(p.numel() for p in model.vcr.parameters()) / 1e6 == pytest.approx(vcr, abs=0.05)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"vitup_stride": 3}, "vitup_stride=3 does not divide the patch size 8"),
        ({"backbone_config": DINOV2}, "does not divide the patch size 14.*7 for a grid"),
        ({"vitup_pad_before": 2}, "vitup_pad_before=2 must be a multiple"),
        ({"vitup_pad_before": 8}, "vitup_pad_before=8 must be a multiple of vitup_stride=4 from 0 to 4"),
        ({"vcr_layers": (1, 3)}, r"vcr_layers=\(1, 3\) must be .* before the last of 3"),
        ({"vcr_layers": (2, 1)}, "must be increasing"),
        ({"vcr_layers": ()}, "use_vcr=True needs vcr_layers"),
        ({"vcr_mode": "echo"}, "vcr_mode='echo' is not known: choose one of replay, ds, align"),
        ({"hiclr_iterations": -1}, "must be 0"),
        ({"backbone_config": {**DINOV3, "reshape_hidden_states": False}}, "prefix tokens cannot be told"),
        ({"backbone_config": {**BEIT, "add_fpn": True, "out_indices": [0, 1, 2, 3]}}, "makes a pyramid"),
        ({"backbone_config": {"model_type": "swin"}}, "no plain ViT"),
        ({"backbone_config": {"model_type": "timm_backbone", "backbone": "vit_tiny_patch16_224"}}, "out_indices"),
    ],
)
def test_configurations_that_cannot_be(fields, message):
    with pytest.raises(Exception, match="(?s)" + message) as caught:
        tiny_config(**fields)
    assert isinstance(caught.value, ValueError) or isinstance(caught.value.__cause__, (ValueError, TypeError))
