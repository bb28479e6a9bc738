# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Cross-entropy at several scales: labels are thinned out, and each scale has its weight."""

import pytest
import torch
import torch.nn.functional as F

from hfseg.losses.multi_scale import multi_scale_cross_entropy, thin_out


def test_scales():
    labels = torch.arange(5 * 9).view(1, 5, 9)
    assert thin_out(labels, 4).tolist() == [[[20, 24, 26], [38, 42, 44]]]
    logits = torch.randn(2, 3, 4, 4, dtype=torch.float64).float()
    truth = torch.randint(0, 3, (2, 4, 4))
    truth[0, :2] = 255
    (loss,) = multi_scale_cross_entropy([logits], [truth], [0.4])
    assert loss.item() == pytest.approx(0.4 * F.cross_entropy(logits, truth, ignore_index=255).item(), rel=1e-5)
    (nothing,) = multi_scale_cross_entropy([logits], [torch.full_like(truth, 255)], [1.0])
    assert nothing == 0
