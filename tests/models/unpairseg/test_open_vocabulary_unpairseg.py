# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Unpair-Seg's open vocabulary: the common contract, regions of CLIP, adapters."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from contract import peaked
from hfseg import UnpairSegForOpenVocabularySegmentation
from unpairseg_models import close, entity_labels, example, tiny_config


def test_an_image_is_the_region_that_covers_it():
    model = UnpairSegForOpenVocabularySegmentation(tiny_config()).eval()
    pixels = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        maps = model.model.extract_features(pixels)
        whole = model.clip_regions(maps[-1], torch.ones(2, 1, 2, 3))[:, 0]
        torch.testing.assert_close(model.get_image_features(pixels), whole, rtol=1e-5, atol=1e-5)


def open_vocabulary(**fields: Any) -> UnpairSegForOpenVocabularySegmentation:
    torch.manual_seed(0)
    config = tiny_config(score_threshold=0.0, iou_threshold=1.1, cover_threshold=1.1, **fields)
    return peaked(UnpairSegForOpenVocabularySegmentation(config)).eval()


def test_low_rank_adapter_is_equation_3_7():
    model = open_vocabulary()
    maps = model.model.extract_features(example())
    adapter = model.adapter
    parts = []
    for features, down, up in zip(maps, adapter.down, adapter.up):
        tokens = features.permute(0, 2, 3, 1)
        tokens = tokens + up(F.gelu(down(tokens)))
        parts.append(F.interpolate(tokens.permute(0, 3, 1, 2), size=(8, 12), mode="bilinear", align_corners=False))
    together = torch.cat(parts, dim=1).permute(0, 2, 3, 1)
    expected = adapter.projection(F.gelu(adapter.fuse(together))).permute(0, 3, 1, 2)
    close(adapter(maps), expected, 1e-4, 1e-4 * expected.abs().max().item())


@pytest.mark.parametrize(
    "fields",
    [
        {"adapter": "cross_attention"},
        {"adapter_residual": False, "adapter_dim": 8},
        {"clip_residual": True},
        {"region_source": "ensemble"},
        {"region_source": "clip"},
        {"matching": "greedy", "matching_num_sigmas": 2.0},
        {"matching_cost": "eq36", "normalize_scales": True},
        {"matching_cost": "cosine", "min_similarity": -1.0},
        {"matching_cost": "legacy", "matching_topk": 0.5},
        {"self_ensemble_steps": 10},
    ],
    ids=str,
)
def test_adapter_options_learn(fields):
    model = open_vocabulary(**fields).train()
    outputs = model(example(), entity_labels=entity_labels(2))
    outputs.loss.backward()
    assert torch.isfinite(outputs.loss) and 0 < outputs.loss < 2
    assert all(torch.isfinite(p.grad).all() for p in model.adapter.parameters())
    assert any(p.grad.any() for p in model.adapter.parameters())
    assert all(p.grad is None for name, p in model.named_parameters() if not name.startswith("adapter."))
    assert model.matching_state[1] == 1


def test_clip_residual_starts_as_the_baseline():
    torch.manual_seed(0)
    model = UnpairSegForOpenVocabularySegmentation(tiny_config(clip_residual=True)).eval()
    maps = model.model.extract_features(example())
    everything = torch.ones(2, 1, 16, 24)
    pixels = model.project_regions(maps[-1].permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    pixels = F.interpolate(pixels, size=(8, 12), mode="bilinear", align_corners=False)
    close(model.adapter_regions(maps, everything)[:, 0], pixels.mean((2, 3)), 1e-5, 1e-5)


def test_multi_scale_regions_mean_nothing_for_lost_masks():
    model = open_vocabulary()
    logits = [torch.full((2, 16, 24), -5.0), torch.full((1, 16, 24), 5.0)]
    logits[0][1] = 5.0
    regions = model.multi_scale_regions(example(), logits)
    assert [tuple(r.shape) for r in regions] == [(2, 2, 20), (2, 1, 20)]
    assert not regions[0][:, 0].any() and regions[0][:, 1].any()
    # The second size is the input's own: no resize.
    own = model.clip_regions(model.model.extract_features(example())[-1], torch.stack([logits[0][1:], logits[1]]))
    close(regions[1][1], own[1], 1e-5, 1e-5)


def test_the_adapter_runs_once_per_update():
    """Proposals are described by the map that the loss is computed from, and without gradients."""
    torch.manual_seed(0)
    model = UnpairSegForOpenVocabularySegmentation(
        tiny_config(score_threshold=0.0, iou_threshold=1.1, cover_threshold=1.1, region_sizes=(64, 96))
    ).train()
    calls = []
    model.adapter.register_forward_hook(lambda *_: calls.append(torch.is_grad_enabled()))
    pixels, entities = torch.randn(2, 3, 64, 96), [torch.randn(3, 20), torch.randn(2, 20)]
    outputs = model(pixels, entity_labels=entities)
    assert calls == [True] and not outputs.region_embeds.requires_grad
    outputs.loss.backward()
    assert model.adapter.projection.weight.grad.abs().sum() > 0
    with torch.no_grad():  # the same descriptions as without a loss
        torch.testing.assert_close(model(pixels).region_embeds, outputs.region_embeds)


def test_images_at_several_sizes_may_come_from_the_originals():
    """Given what would be made of the input, the loss is the same; given other images, it is another."""
    torch.manual_seed(0)
    model = UnpairSegForOpenVocabularySegmentation(
        tiny_config(score_threshold=0.0, iou_threshold=1.1, cover_threshold=1.1, region_sizes=(64, 96))
    ).eval()
    pixels, entities = torch.randn(2, 3, 64, 64), [torch.randn(3, 20)] * 2
    larger = torch.nn.functional.interpolate(pixels, size=(96, 96), mode="bilinear", antialias=True)
    plain = model(pixels, entity_labels=entities).loss
    torch.testing.assert_close(model(pixels, entity_labels=entities, region_pixel_values=[pixels, larger]).loss, plain)
    logits = [torch.randn(4, 16, 16)] * 2
    regions = model.multi_scale_regions(pixels, logits, [pixels, torch.randn_like(larger)])
    expected = model.multi_scale_regions(pixels, logits)
    assert torch.equal(regions[0][0], expected[0][0]) and not torch.allclose(regions[0][1], expected[0][1])
    with pytest.raises(ValueError, match="of 1 sizes"):
        model(pixels, entity_labels=entities, region_pixel_values=[pixels])


def test_masks_are_selected_by_the_rule_of_the_configuration():
    """A part inside a whole goes by the official rule and stays by the printed one."""
    from types import SimpleNamespace

    kept = {}
    for rule in ("or", "and"):
        model = UnpairSegForOpenVocabularySegmentation(tiny_config(score_threshold=0.0, nms_rule=rule))
        channels = 2
        pixel = torch.full((1, channels, 16, 16), -1.0)
        pixel[0, 0, 2:14, 2:14], pixel[0, 1, 5:8, 5:8] = 1.0, 1.0
        outputs = SimpleNamespace(
            iou_scores=torch.tensor([[[0.9], [0.8]]]),
            mask_embeddings=torch.eye(channels)[None, :, None],
            pixel_embedding=pixel,
        )
        kept[rule] = len(model.select_masks(outputs, 0))
    assert kept == {"or": 1, "and": 2}
    with pytest.raises(Exception, match="nms_rule"):
        tiny_config(nms_rule="xor")
