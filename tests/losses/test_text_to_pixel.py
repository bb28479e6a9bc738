# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Text-to-pixel loss: targets in place of the logits, computed in another way."""

import pytest
import torch
import torch.nn.functional as F

from hfseg.losses.text_to_pixel import resize_mask_labels, text_to_pixel_loss


@pytest.mark.parametrize(("given", "size"), [((64, 64), (16, 16)), ((96, 160), (24, 40))])
def test_aligned_targets_are_means_where_logits_are_read(given, size):
    masks = torch.rand(2, 3, *given)
    means = F.avg_pool2d(masks, 3, stride=1, padding=1, count_include_pad=False)
    expected = F.interpolate(means, size=size, mode="bilinear", align_corners=True)
    torch.testing.assert_close(resize_mask_labels(masks, size, "aligned"), expected)


def test_mixed_precision_does_not_round_targets():
    masks = torch.rand(1, 1, 64, 64)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = resize_mask_labels(masks, (16, 16), "aligned")
    assert torch.equal(rounded, resize_mask_labels(masks, (16, 16), "aligned"))


def test_nearest_targets_are_the_upper_left_pixels():
    masks = torch.rand(2, 3, 32, 48)
    assert torch.equal(resize_mask_labels(masks, (8, 12)), masks[..., ::4, ::4])


def test_loss_is_the_mean_cross_entropy():
    logits, masks = torch.randn(2, 3, 8, 8), torch.rand(2, 3, 32, 32)
    target = masks[..., ::4, ::4]
    probability = logits.sigmoid()
    expected = -(target * probability.log() + (1 - target) * (1 - probability).log()).mean()
    torch.testing.assert_close(text_to_pixel_loss(logits, masks), expected)
