# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Open-vocabulary PRO-SCALE from a CLIP of transformers: both towers give its numbers."""

import json

import pytest
import torch
from transformers import CLIPConfig, CLIPModel, SwinConfig

from contract import peaked
from hfseg import ProScaleForOpenVocabularySegmentation
from proscale_models import TEXT, TINY, VISION, close


def features(output):
    """Some releases of transformers return the features themselves, others in an output."""
    return output if isinstance(output, torch.Tensor) else output.pooler_output


@pytest.mark.parametrize("width_in_towers", [None, 20, 512])
@torch.no_grad()
def test_both_towers_are_the_clips(tmp_path, width_in_towers):
    """Whether the towers' own configurations say the width, say nothing (old folders), or say what was the default."""
    torch.manual_seed(0)
    clip = peaked(CLIPModel(CLIPConfig(vision_config=VISION, text_config=TEXT, projection_dim=20))).eval()
    clip.save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    for name in ("vision_config", "text_config"):
        written[name]["projection_dim"] = width_in_towers
        if width_in_towers is None:
            del written[name]["projection_dim"]
    (tmp_path / "config.json").write_text(json.dumps(written))
    model = ProScaleForOpenVocabularySegmentation.from_clip(tmp_path, **TINY, relative_attention_interval=2).eval()
    images = torch.randn(2, 3, 32, 32)
    ids = torch.tensor([[62, 5, 63, 63], [62, 7, 9, 63]])
    close(model.mask_class_encoder.embed_images(images), features(clip.get_image_features(images)), 1e-5, 1e-5)
    close(model.get_text_features(ids), features(clip.get_text_features(ids)), 1e-5, 1e-5)
    assert model.logit_scale == clip.logit_scale
    frozen = {n for n, p in model.named_parameters() if not p.requires_grad}
    assert "logit_scale" in frozen and not any(".relative." in name or name.startswith("model.") for name in frozen)


def test_other_folders_are_refused(tmp_path):
    SwinConfig().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="is a 'swin'"):
        ProScaleForOpenVocabularySegmentation.from_clip(tmp_path)
