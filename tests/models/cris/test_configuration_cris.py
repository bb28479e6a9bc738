# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""CRIS's configuration: the paper's sizes, and what is refused."""

import pytest
import torch

from cris_models import tiny_config
from hfseg import CrisConfig, CrisForReferringImageSegmentation


@pytest.mark.parametrize(
    "fields, published",
    [
        ({"use_decoder": False, "use_text_to_pixel": False}, 131.86),
        ({"use_decoder": False}, 134.22),
        ({"num_decoder_layers": 1, "use_text_to_pixel": False}, 136.07),
        ({"num_decoder_layers": 1}, 138.43),
        ({"num_decoder_layers": 2}, 142.64),
        ({"num_decoder_layers": 3}, 146.85),
        ({"num_decoder_layers": 4}, 151.06),
    ],
)
def test_parameters_are_those_of_the_paper(fields, published):
    with torch.device("meta"):
        model = CrisForReferringImageSegmentation(CrisConfig(**fields))
    assert round(sum(parameter.numel() for parameter in model.parameters()) / 1e6, 2) == published


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"vision_layers": (1, 1, 1)}, "four positive"),
        ({"hidden_size": 48}, "neck_sizes"),
        ({"num_attention_heads": 5}, "multiple of num_attention_heads"),
        ({"image_size": 50}, "multiple of 32"),
        ({"vision_width": 7}, "at least 8"),
        ({"num_decoder_layers": 0}, "use_decoder=False"),
        ({"mask_label_resize": "area"}, "aligned"),
    ],
)
def test_illegal_configurations(fields, message):
    with pytest.raises(Exception, match=message):
        tiny_config(**fields)
