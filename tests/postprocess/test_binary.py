# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Binary segmentation equals its plain form."""

import torch
import torch.nn.functional as F

from hfseg import postprocess

LARGEST_DIFFERENT_SHARE = 0.0005


def plain_resize(logits, padded, image, output):
    logits = F.interpolate(logits[None], size=padded, mode="bilinear", align_corners=False)
    logits = logits[..., : image[0], : image[1]]
    return F.interpolate(logits, size=output, mode="bilinear", align_corners=False)[0]


def test_binary_segmentation_equals_its_plain_form():
    logits = torch.randn(2, 3, 8, 8) * 3
    sizes = {"padded_size": (32, 32), "image_sizes": [(32, 20), (9, 32)], "output_sizes": [(50, 31), (18, 64)]}
    masks = postprocess.binary_segmentation(logits, **sizes, mask_threshold=0.3)
    probabilities = postprocess.binary_segmentation(logits, **sizes, return_probabilities=True)
    for index in range(2):
        expected = plain_resize(logits[index], (32, 32), sizes["image_sizes"][index], sizes["output_sizes"][index])
        torch.testing.assert_close(probabilities[index], expected.sigmoid(), atol=1e-4, rtol=0)
        assert (masks[index] != (expected.sigmoid() > 0.3)).float().mean() <= LARGEST_DIFFERENT_SHARE
    assert postprocess.binary_segmentation(logits[:, 0])[0].shape == (8, 8)
