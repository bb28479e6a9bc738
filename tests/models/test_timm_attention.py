# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""MViTv2's attention against timm's at the size of training, and beyond it; windows."""

import pytest
import torch
from transformers import TimmBackboneConfig

from contract import peaked
from hfseg.models.backbone import build_backbone

timm = pytest.importorskip("timm")
from hfseg.models.timm_attention import AnySizeMultiScaleAttention, relative_codes  # noqa: E402 (needs timm)
from timm_models import WINDOWED_MVIT, tiny_mvit  # noqa: E402 (likewise)

NETWORK = {"backbone": "mvitv2_tiny", "use_pretrained_backbone": False, "out_indices": [0, 1, 2, 3]}


def build(**fields):
    torch.manual_seed(0)
    return build_backbone(TimmBackboneConfig(**NETWORK, **fields)).eval()


def windows(backbone):
    return [module.window for module in backbone.modules() if isinstance(module, AnySizeMultiScaleAttention)]


@pytest.mark.parametrize("fields", [{}, {"window_size": 56}, {"window_size": 56, "global_blocks": []}])
def test_it_is_timms_network_at_224_pixels(fields):
    """Windows of 56, 28, 14 and 7 tokens are whole maps there, so that timm's weights mean the same."""
    torch.manual_seed(0)
    ours = peaked(build(**fields))
    theirs = timm.create_model("mvitv2_tiny", features_only=True, out_indices=(0, 1, 2, 3)).eval()
    theirs.load_state_dict(ours._backbone.state_dict())
    pixel_values = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        for mine, other in zip(ours(pixel_values).feature_maps, theirs(pixel_values), strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-3 * other.abs().max().item())


def test_windows_halve_and_the_last_blocks_stay_global():
    assert windows(build(window_size=56)) == [56, 56, 0, 28, 14, 14, 14, 0, 14, 0]
    assert windows(build(window_size=56, global_blocks=[7, 9])) == [56, 56, 28, 28, 14, 14, 14, 0, 14, 0]
    assert windows(build()) == [0] * 10


def test_larger_images_of_other_sides_pass():
    """timm's own look-up of positions has no entry beyond 224 pixels."""
    torch.manual_seed(0)
    with torch.no_grad():
        for fields in ({}, {"window_size": 56}):
            maps = build(**fields)(torch.randn(1, 3, 260, 300)).feature_maps
            assert [tuple(level.shape[-2:]) for level in maps] == [(65, 75), (33, 38), (17, 19), (9, 10)]
            assert all(torch.isfinite(level).all() for level in maps)


def test_a_window_sees_itself_only():
    torch.manual_seed(0)
    module = next(m for m in build(window_size=56).modules() if isinstance(m, AnySizeMultiScaleAttention))
    peaked(module)
    tokens = torch.randn(1, 16 * 32, 96)
    module.window = 16
    changed = tokens.clone().view(1, 16, 32, 96)
    changed[:, 4:12, 20:28] += 3.0  # inside the right window, away from the pooling at its border
    with torch.no_grad():
        before, size = module(tokens, [16, 32])
        after, _ = module(changed.view(1, -1, 96), [16, 32])
    assert size == [16, 32]
    moved = (before - after).view(16, 32, -1).abs().amax(-1) > 1e-5
    assert not moved[:, :16].any() and moved[:, 16:].all()


@pytest.mark.parametrize("size", [(64, 96), (33, 47), (96, 250)])
def test_gathered_windows_are_those_that_are_copied(size):
    """Without gradients tokens are gathered by index, with gradients maps are padded, cut and put back: bit by bit."""
    with tiny_mvit():
        torch.manual_seed(0)
        backbone = peaked(build_backbone(TimmBackboneConfig(**WINDOWED_MVIT))).eval()
    pixel_values = torch.randn(2, 3, *size)
    with torch.no_grad():
        gathered = backbone(pixel_values).feature_maps
    copied = backbone(pixel_values).feature_maps
    assert copied[0].requires_grad
    assert all(torch.equal(one, other) for one, other in zip(gathered, copied, strict=True))


def test_codes_of_distances():
    table = torch.arange(7.0)[:, None]  # of distances -3..3
    assert relative_codes(table, 4, 4)[0, :, 0].tolist() == [3, 2, 1, 0]
    assert relative_codes(table, 4, 2)[:, 0, 0].tolist() == [2, 3, 4, 5]  # keys are two apart
    resized = relative_codes(table, 8, 8)[:, 0, 0]
    assert len(resized) == 8 and resized[-1] == 6 and resized[0] == 3
    table = torch.randn(7, 5)
    with torch.no_grad():  # resized to its own size
        assert torch.equal(relative_codes(table, 4, 4), table[torch.arange(4)[:, None] - torch.arange(4) + 3])


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"window_size": 30}, "window_size=30 leaves block 0 windows of 30 tokens, which must be a multiple of 4"),
        ({"window_size": 56, "global_blocks": [10]}, "must be blocks from 0 to 9"),
        ({"global_blocks": [9]}, "belongs to window_size"),
        ({"backbone": "resnet10t", "window_size": 56}, "is of MViTv2"),
        ({"backbone": "mvitv2_small_cls", "window_size": 56}, "has a class token, which lies in no window"),
        ({"window_size": 56.0}, "window_size=56.0 must be a whole number"),
        ({"window_size": "many"}, "window_size='many' must be a whole number"),
        ({"window_size": True}, "window_size=True must be a whole number"),
        ({"window_size": 56, "global_blocks": 9}, "global_blocks=9 must be a list of numbers"),
        ({"window_size": 56, "global_blocks": [1.5]}, "must be a list of numbers"),
        ({"window_size": 56, "global_blocks": "79"}, "must be a list of numbers"),
    ],
)
def test_impossible_windows(fields, named):
    with pytest.raises(ValueError, match=named):
        build_backbone(TimmBackboneConfig(**{**NETWORK, **fields}))
