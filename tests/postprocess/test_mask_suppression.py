# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Suppression of masks: the sequential rule, in blocks."""

import numpy as np
import torch
import torch.nn.functional as F

from golden import read_case
from hfseg.postprocess import clean_small_regions, mask_nms, mask_stability
from hfseg.postprocess.resizing import BandResizer


def test_blockwise_suppression_is_the_sequential_rule():
    """200 masks in several blocks, with equal scores; thresholds that no ratio of small areas meets exactly."""
    generator = np.random.default_rng(0)
    masks = np.zeros((200, 24, 24), dtype=bool)
    for mask in masks:
        y, x, h, w = generator.integers(0, 18, 2).tolist() + generator.integers(0, 10, 2).tolist()
        mask[y : y + h, x : x + w] = True
    scores = generator.integers(0, 40, 200) / 40
    for rule in ("or", "and", "iou"):
        order = np.argsort(-scores, kind="stable").tolist()
        kept = []
        while order:
            best = order.pop(0)
            kept.append(best)

            def removed(other, best=best, rule=rule):
                common = (masks[best] & masks[other]).sum() + np.float32(1e-6)
                iou = np.float32(common / ((masks[best] | masks[other]).sum() + np.float32(1e-6)))
                cover = np.float32(common / (masks[other].sum() + np.float32(1e-6)))
                tests = {
                    "or": iou >= 0.503 or cover >= 0.703,
                    "and": iou > 0.503 and cover > 0.703,
                    "iou": iou >= 0.503,
                }
                return tests[rule]

            order = [other for other in order if not removed(other)]
        assert mask_nms(torch.from_numpy(masks), torch.from_numpy(scores), 0.503, 0.703, rule).tolist() == kept


def test_golden_masks():
    case = read_case("unpairseg/open_vocab_parts")
    logits, scores, expected = case.inputs["nms.mask_logits"], case.inputs["nms.scores"], case.outputs
    assert mask_nms(logits > 0, scores).tolist() == expected["nms.inner_0.5_0.7"].tolist()
    assert mask_nms(logits > 0, scores, 0.5, rule="iou").tolist() == expected["nms.plain_0.5"].tolist()
    half = F.interpolate(logits[None], scale_factor=0.5, mode="bilinear", align_corners=False)[0]
    assert mask_nms(half > 0, scores, 0.75, 0.9).tolist() == expected["nms.inner_0.75_0.9_half"].tolist()
    torch.testing.assert_close(mask_stability(logits), expected["stability_0.5_0.1"], equal_nan=True)
    cleaned = clean_small_regions(case.inputs["small_regions.masks"].numpy() > 0, 15)
    assert np.array_equal(cleaned, expected["small_regions.result_area15"].numpy() > 0)
    # From a square back to an image of 40 x 60: a square of 60, of which the top 40 rows are the image.
    square = expected["post.square_to_40x60"]
    rows = list(BandResizer(logits[: len(square)], (48, 48), (48, 48), (40, 60), (60, 60)).bands())
    torch.testing.assert_close(torch.cat([band.clone() for _, band in rows], dim=1), square, rtol=1e-4, atol=1e-3)
