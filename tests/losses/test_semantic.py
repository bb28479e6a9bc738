# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Losses per pixel: a reference value of the authors' public framework, ignored pixels, weights, exact parts."""

import pytest
import torch
import torch.nn.functional as F

from hfseg.losses.semantic import check_labels, focal_dice_cross_entropy, resize_labels

LOGITS = torch.tensor(
    [
        [[[2, -1, 0.5], [0, 1, -2]], [[-1.5, 0.25, 3], [1, 1, 1]]],
        [[[0.1, 0.2, 0.3], [-3, 2, 0]], [[4, -4, 0], [0.5, -0.5, 1.5]]],
    ]
).permute(0, 3, 1, 2)  # (2, 3, 2, 2)
LABELS = torch.tensor([[[0, 1], [2, 255]], [[2, 1], [0, 1]]])


def test_reference_values():
    """Numbers that the authors' framework gives on these logits (20 focal, Dice, cross-entropy)."""
    losses = focal_dice_cross_entropy(LOGITS, LABELS)
    expected = {"focal": 3.4808593, "dice": 0.4094369, "cross_entropy": 0.6033646}
    assert {name: value.item() for name, value in losses.items()} == pytest.approx(expected, abs=1e-6)
    assert sum(losses.values()).item() == pytest.approx(4.4936605, abs=1e-6)


def test_ignored_pixels_do_not_matter():
    logits = LOGITS.clone()
    logits[0, :, 1, 1] = 50.0
    for one, other in zip(
        focal_dice_cross_entropy(logits, LABELS).values(), focal_dice_cross_entropy(LOGITS, LABELS).values()
    ):
        assert torch.equal(one, other)
    nothing = focal_dice_cross_entropy(LOGITS.requires_grad_(), torch.full_like(LABELS, 255))
    assert all(value == 0 for value in nothing.values())
    assert torch.isfinite(torch.autograd.grad(sum(nothing.values()), LOGITS)[0]).all()


def test_a_weight_of_zero_leaves_the_term_out():
    assert list(focal_dice_cross_entropy(LOGITS, LABELS, cross_entropy_weight=0)) == ["focal", "dice"]
    only = focal_dice_cross_entropy(LOGITS, LABELS, 0, 0, 3.0)
    torch.testing.assert_close(
        only["cross_entropy"], 3 * F.cross_entropy(LOGITS, LABELS, ignore_index=255), rtol=1e-6, atol=0
    )


def test_parts_weighted_by_labeled_pixels_add_up():
    whole = focal_dice_cross_entropy(LOGITS, LABELS)
    for name, value in whole.items():
        parts = [focal_dice_cross_entropy(LOGITS[i : i + 1], LABELS[i : i + 1])[name] for i in range(2)]
        torch.testing.assert_close((3 * parts[0] + 4 * parts[1]) / 7, value)


def test_half_precision_is_computed_in_float32():
    with torch.autocast("cpu", torch.bfloat16):
        inside = focal_dice_cross_entropy(LOGITS.bfloat16(), LABELS)
    outside = focal_dice_cross_entropy(LOGITS.bfloat16().float(), LABELS)
    for name, value in inside.items():
        assert value.dtype == torch.float32 and torch.equal(value, outside[name])


def test_resized_labels():
    assert resize_labels(LABELS, (2, 2)) is LABELS
    doubled = LABELS.repeat_interleave(2, 1).repeat_interleave(2, 2)
    assert torch.equal(resize_labels(LABELS, (4, 4)), doubled) and torch.equal(resize_labels(doubled, (2, 2)), LABELS)


def test_labels_that_do_not_fit():
    check_labels(LABELS, 2, 3, 255)
    with pytest.raises(ValueError, match=r"labels hold \[2\]; must be 0..1, and 255"):
        check_labels(LABELS, 2, 2, 255)
    with pytest.raises(ValueError, match=r"give class ids as integers \(3, height, width\)"):
        check_labels(LABELS, 3, 3, 255)
