# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Configuration of open-vocabulary PRO-SCALE: the paper's model by default, and what is refused."""

import pytest
import torch

from hfseg import ProScaleForOpenVocabularySegmentation, ProScaleOpenVocabularyConfig
from proscale_models import TEXT, VISION, tiny_open_vocabulary_config


def test_the_default_is_the_papers_model():
    config = ProScaleOpenVocabularyConfig()
    assert config.backbone_config.model_type == "resnet" and tuple(config.encoder_stage_layers) == (3, 3, 3)
    vision, text = config.vision_config, config.text_config
    assert (vision.image_size, vision.patch_size, vision.num_hidden_layers, vision.hidden_size) == (336, 14, 24, 1024)
    assert (text.hidden_size, text.projection_dim, vision.projection_dim) == (768, 768, 768)
    assert config.relative_attention_interval == 6 and config.freeze_clip and not config.freeze_proposals
    again = ProScaleOpenVocabularyConfig.from_dict(config.to_dict())
    assert again.to_dict() == config.to_dict()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"text_config": {**TEXT, "projection_dim": 24}}, "both towers of a CLIP end in one space"),
        ({"vision_config": {**VISION, "patch_size": 7}}, "multiple of patch_size=7"),
        ({"relative_attention_interval": 0}, "must be 1 or more"),
        ({"clip_image_std": (1.0, 1.0, 0.0)}, "deviations above 0"),
        ({"image_mean": (0.5,)}, "three numbers"),
        ({"encoder": "none"}, "choose one of progressive, full, lite, hybrid"),
    ],
)
def test_illegal_configurations(fields, message):
    with pytest.raises(Exception, match=message):
        tiny_open_vocabulary_config(**fields)


def test_one_number_stands_for_all_channels():
    """Of means and deviations, in the checks and in what CLIP sees."""
    config = tiny_open_vocabulary_config(image_mean=0.5, image_std=0.25)
    model = ProScaleForOpenVocabularySegmentation(config).eval()
    pixel_values = torch.rand(1, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    alike = model.clip_images(pixel_values)
    model.config.image_mean, model.config.image_std = (0.5,) * 3, [0.25] * 3
    assert torch.equal(alike, model.clip_images(pixel_values))
    with pytest.raises(Exception, match="deviations above 0"):
        tiny_open_vocabulary_config(image_std=0.0)
