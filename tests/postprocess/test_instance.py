# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Instance masks: both ways of making them give the same bits, and no score above the threshold is lost."""

import numpy as np
import pytest
import torch

from hfseg import postprocess
from hfseg.postprocess import instance
from hfseg.postprocess.resizing import BandResizer

SIZES = [
    # logits, padded, image, output
    ((24, 32), (96, 128), (90, 120), (135, 180)),
    ((25, 34), (100, 136), (99, 136), (47, 65)),
    ((40, 8), (160, 32), (160, 3), (7, 1)),
]


def blobs(count, height, width, seed=0):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    centers, radii = rng.random((count, 2)) * (height, width), 1 + 0.3 * height * rng.random((count, 2)) ** 2
    logits = [8 - 8 * (((y - c[0]) / r[0]) ** 2 + ((x - c[1]) / r[1]) ** 2) for c, r in zip(centers, radii)]
    return torch.from_numpy(np.stack(logits).astype(np.float32)).clamp(-20, 20)


@pytest.mark.parametrize("mask_threshold", [0.0, 0.2, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("sizes", SIZES)
def test_masks_by_region_equal_masks_by_band(sizes, mask_threshold):
    (height, width), *geometry = sizes
    level = float(torch.logit(torch.tensor(mask_threshold, dtype=torch.float64)))
    for logits in (blobs(9, height, width), torch.randn(9, height, width, generator=torch.manual_seed(0))):
        resizer = BandResizer(logits, *geometry)
        regions = resizer.regions(level)
        one, other = instance._masks_by_region(resizer, regions, level), instance._masks_by_band(resizer, level)
        assert torch.equal(one.packed, other.packed) and torch.equal(one.areas, other.areas)
        torch.testing.assert_close(one.means, other.means, atol=1e-6, rtol=0)
        ranks = torch.tensor([3, 0, 5, 3, 8])
        topmost = instance._topmost_instance(one.packed, ranks, geometry[-1][1])
        assert torch.equal(instance._topmost_in_regions(one.packed, ranks, regions, geometry[-1][1]), topmost)


def test_small_masks_are_made_in_their_regions(monkeypatch):
    calls = []
    for name in ("_masks_by_region", "_masks_by_band"):
        plain = getattr(instance, name)
        monkeypatch.setattr(instance, name, lambda *args, n=name, p=plain: calls.append(n) or p(*args))
    classes = torch.randn(1, 6, 4, generator=torch.manual_seed(0))
    for logits in (blobs(6, 40, 40) - 6, torch.randn(6, 40, 40)):
        postprocess.instance_segmentation(classes, logits[None], output_sizes=[(80, 90)])
    assert calls == ["_masks_by_region", "_masks_by_band"]


@pytest.mark.parametrize("threshold", [0.2, 0.5])
def test_a_threshold_leaves_what_filtering_afterwards_leaves(threshold):
    generator = torch.manual_seed(1)
    classes, masks = 3 * torch.randn(1, 20, 5, generator=generator), blobs(20, 24, 24)[None]
    (everything,) = postprocess.instance_segmentation(classes, masks)
    (kept,) = postprocess.instance_segmentation(classes, masks, threshold=threshold)
    expected = everything.scores >= threshold
    assert 0 < len(kept.scores) < len(everything.scores)
    assert torch.equal(kept.scores, everything.scores[expected])
    assert torch.equal(kept.masks(), everything.masks()[expected])
    # A quality above 1 may lift a score over the class probability.
    quality = torch.full((1, 20), 1.5)
    (lifted,) = postprocess.instance_segmentation(classes, masks, threshold=threshold, query_scores=quality)
    assert len(lifted.scores) == int((everything.scores * 1.5 >= threshold).sum()) > len(kept.scores)
