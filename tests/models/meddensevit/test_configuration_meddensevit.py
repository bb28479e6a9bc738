# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""MedDenseViT's configuration: published sizes, and what is refused."""

import pytest
import torch

from hfseg import MedDenseViTConfig, MedDenseViTForSemanticSegmentation
from hfseg.models.meddensevit.configuration_meddensevit import SIZES
from meddensevit_models import tiny_config, tiny_model

# Millions of parameters: all, encoder, rest, with 14 classes.
PUBLISHED = {
    "small": (24.5, 21.6, 2.9),
    "base": (92.2, 85.7, 6.5),
    "large": (314.6, 303.1, 11.5),
    "huge": (648.5, 630.7, 17.8),
    "giant": (1036, 1011, 25.4),
}


@pytest.mark.parametrize("size", SIZES)
def test_sizes_have_the_published_parameters(size):
    with torch.device("meta"):
        model = MedDenseViTForSemanticSegmentation(MedDenseViTConfig.of_size(size, num_labels=14))
    total, encoder = (
        sum(parameter.numel() for parameter in part.parameters()) / 1e6 for part in (model, model.model.backbone)
    )
    # Half of the last digit that is stated, plus a rounding of its own in the statement.
    for value, expected, digit in zip((total, encoder, total - encoder), PUBLISHED[size], (1, 1, 0.1)):
        assert value == pytest.approx(expected, abs=0.6 * digit if size == "giant" else 0.06)
    depth = SIZES[size][1]
    assert model.config.backbone_config.out_indices == [depth // 4, depth // 2, 3 * depth // 4, depth]


def test_default_is_the_scaled_up_size():
    assert MedDenseViTConfig().to_dict() == MedDenseViTConfig.of_size("giant").to_dict()
    with pytest.raises(ValueError, match="small, base"):
        MedDenseViTConfig.of_size("tiny")


def test_layer_depths_cover_the_encoder():
    model = tiny_model()
    depths = {name: model.layer_depth(name) for name, _ in model.named_parameters()}
    assert depths["model.backbone.embeddings.cls_token"] == 0
    assert {depths[f"model.backbone.model.layer.{layer}.norm1.weight"] for layer in range(4)} == {1, 2, 3, 4}
    assert depths["classifier.weight"] == depths["model.backbone.norm.weight"] == model.max_layer_depth == 5


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"neck": "fpn"}, "msfa, last, dpt"),
        ({"loss": "ce"}, "dice_ce, dice_focal"),
        ({"feature_size": 18}, "multiple of 4"),
        ({"stem_sizes": (8,)}, "two positive"),
        ({"class_weight_limits": (10.0, 0.1)}, "smallest, largest"),
        ({"class_frequency_decay": 1.0}, r"\[0, 1\)"),
        ({"backbone": {"out_indices": [2, 4]}}, "aggregates four"),
        ({"label_sets": {"amos": [1, 2]}}, "background"),
        ({"label_sets": {"amos": [0, 9]}}, "below num_labels=4"),
    ],
)
def test_configuration_refuses(fields, message):
    with pytest.raises(Exception, match=message):
        tiny_config(**fields)
