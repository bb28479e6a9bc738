# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""UniSegFormer's configuration: published sizes, and what is wrong is said."""

import pytest
import torch

from hfseg import UniSegFormerConfig, UniSegFormerForUniversalSegmentation
from unisegformer_models import ENCODER, tiny_config


@pytest.mark.parametrize(
    ("size", "total", "swin", "exchange"),
    [
        ("tiny", 48.0, 27.6, 2.4),
        ("base", 113.0, 86.9, 4.2),
        ("large", 232.2, 195.2, 9.4),
        ("xlarge", 404.4, 346.8, 16.6),
    ],
)
def test_sizes(size, total, swin, exchange):
    """The specification's counts in millions, for 133 classes."""
    with torch.device("meta"):
        model = UniSegFormerForUniversalSegmentation(UniSegFormerConfig.of_size(size, num_labels=133))

    def count(*modules):
        return sum(parameter.numel() for module in modules for parameter in module.parameters()) / 1e6

    encoder = model.model.encoder
    clx = count(encoder.clx_up, encoder.clx_down)
    assert count(model) == pytest.approx(total, abs=0.051)
    assert clx == pytest.approx(exchange, abs=0.051)
    assert count(encoder) - clx == pytest.approx(swin, abs=0.051)
    assert UniSegFormerConfig.of_size(size).encoder_config.image_size == 1024


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"decoder_widths": [16, 16, 16]}, "four positive numbers"),
        ({"feature_size": 40}, "multiple of 32"),
        ({"hidden_size": 30}, "num_attention_heads=4"),
        ({"mim_mask_ratio": 1.5}, "between 0 and 1"),
        ({"mim_image_share": 0}, "set mim_weight to 0"),
        ({"contrastive_scale_init": -1}, "above 0"),
        ({"encoder_config": {**ENCODER, "depths": [1, 1, 1]}}, "needs four stages"),
        ({"clx_halo": -1}, "clx_halo=-1"),
        ({"stuff_class_ids": [9]}, "outside the 5 classes"),
    ],
)
def test_configuration_says_what_is_wrong(fields, message):
    with pytest.raises(Exception, match=message):
        tiny_config(**fields)
