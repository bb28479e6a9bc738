# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Unpair-Seg's configuration: the published sizes, and what is refused."""

import pytest
import torch

from hfseg import UnpairSegConfig, UnpairSegForOpenVocabularySegmentation
from unpairseg_models import tiny_config


def test_parameters_of_the_published_model():
    """221M of the paper's table: visual trunk and projection, pixel decoder, mask decoder; the text tower not."""
    with torch.device("meta"):
        model = UnpairSegForOpenVocabularySegmentation(UnpairSegConfig())

    def count(module: torch.nn.Module) -> int:
        return sum(parameter.numel() for parameter in module.parameters())

    assert count(model.model.backbone) == 196_230_336
    assert count(model.visual_projection) == 3_540_480
    assert count(model.text_model) + 1 == 152_001_793
    assert count(model.model.pixel_decoder) == 5_790_144
    assert count(model.model.mask_decoder) == 16_188_421
    assert count(model.adapter) == 5_654_624
    assert count(model.model) + count(model.visual_projection) == 221_749_381


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"adapter": "lora"}, "choose one of low_rank, cross_attention, none"),
        ({"adapter": "none", "region_source": "adapter"}, "needs an adapter"),
        ({"hidden_size": 64}, "must agree"),
        ({"feature_size": 48}, "multiple of 32"),
        ({"num_masks": 0}, "must be at least 1"),
        ({"region_sizes": ()}, "at least one positive"),
        ({"backbone_config": {"model_type": "swin"}}, "must be a ConvNeXt"),
    ],
)
def test_illegal_configurations(fields, message):
    with pytest.raises(Exception, match=message):
        tiny_config(**fields)
