# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The rules on NumPy give what `hfseg.postprocess` gives, on random logits with every option."""

import numpy as np
import pytest
import torch

from hfseg import postprocess
from hfseg.onnx import masks
from hfseg.onnx.masks import Geometry

SIZES = {"padded_size": (64, 96), "image_sizes": [(50, 90)], "output_sizes": [(77, 41)]}
GEOMETRY = Geometry((64, 96), (50, 90), (77, 41))


def logits(seed, queries=12, classes=4):
    random = np.random.default_rng(seed)
    coarse = random.normal(size=(queries, 5, 7)).astype(np.float32) * 4
    maps = torch.nn.functional.interpolate(torch.from_numpy(coarse)[None], (16, 24), mode="bilinear")[0]
    return random.normal(size=(queries, classes + 1)).astype(np.float32) * 3, maps.numpy()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("more", [{}, {"suppress_duplicates": True, "min_segment_area": 40}])
def test_panoptic_and_instances(seed, more):
    classes, maps = logits(seed)
    quality = np.random.default_rng(seed).random(12).astype(np.float32) if seed % 2 else None
    tensors = (torch.from_numpy(classes)[None], torch.from_numpy(maps)[None])
    scores = None if quality is None else torch.from_numpy(quality)[None]
    limits = {"threshold": 0.3, "mask_threshold": 0.45, "overlap_mask_area_threshold": 0.3}
    expected, table = postprocess.panoptic_segmentation(
        *tensors, **SIZES, **limits, label_ids_to_fuse={1, 2}, query_scores=scores, **more
    )[0]
    ids, segments = masks.panoptic(classes, maps, GEOMETRY, **limits, stuff={1, 2}, query_scores=quality, **more)
    assert len(table) > 1 and (ids != expected.numpy()).sum() <= 1
    for mine, theirs in zip(segments, table, strict=True):
        assert {**mine, "score": 0, "area": 0} == {**theirs, "score": 0, "area": 0}
        assert mine["score"] == pytest.approx(theirs["score"], abs=1e-5)
    limits = {"threshold": 0.1, "mask_threshold": 0.45, "num_instances": 20}
    (found,) = postprocess.instance_segmentation(
        *tensors, **SIZES, **limits, stuff_label_ids={1}, query_scores=scores, **more
    )
    drawn, things = masks.instances(classes, maps, GEOMETRY, **limits, stuff={1}, query_scores=quality, **more)
    assert [thing["label_id"] for thing in things] == found.label_ids.tolist() and len(things) > 1
    np.testing.assert_allclose([thing["score"] for thing in things], found.scores, atol=1e-5)
    assert (drawn != found.masks().numpy()).sum() <= 1


def test_semantic_and_canvas():
    classes, maps = logits(7)
    (expected,), _ = postprocess.semantic_segmentation(
        torch.from_numpy(classes)[None], torch.from_numpy(maps)[None], **SIZES
    )
    assert (masks.semantic(classes, maps, GEOMETRY) != expected.numpy()).sum() <= 1
    (binary,) = postprocess.binary_segmentation(
        torch.from_numpy(maps)[None], padded_size=(64, 96), image_sizes=[(64, 64)], output_sizes=[(30, 50)],
        canvas_sizes=[(50, 50)],
    )  # fmt: skip
    mine = masks.thresholded(maps, 0.0, Geometry((64, 96), (64, 64), (30, 50), (50, 50)))
    assert (mine != binary.numpy()).sum() <= 1


@pytest.mark.parametrize("rule", ["or", "and", "iou"])
def test_suppression(rule):
    _, maps = logits(3, queries=40)
    scores = np.random.default_rng(1).random(40).astype(np.float32)
    expected = postprocess.mask_nms(torch.from_numpy(maps > 0), torch.from_numpy(scores), 0.3, 0.6, rule)
    assert masks.mask_suppression(maps > 0, scores, 0.3, 0.6, rule).tolist() == expected.tolist()


def test_boxes():
    random = np.random.default_rng(0)
    classes, placed = random.normal(size=(30, 5)).astype(np.float32), random.random((30, 4)).astype(np.float32)
    (expected,) = postprocess.boxes.detect_boxes(
        torch.from_numpy(classes)[None], torch.from_numpy(placed)[None], padded_sizes=[(64, 96)],
        image_sizes=[(50, 90)], output_sizes=[(77, 41)], threshold=0.4,
    )  # fmt: skip
    scores, labels, boxes = masks.boxes(classes, placed, GEOMETRY, 0.4)
    np.testing.assert_allclose(scores, expected["scores"], atol=1e-6)
    assert labels.tolist() == expected["labels"].tolist() and 10 < len(labels) < 150
    np.testing.assert_allclose(boxes, expected["boxes"], atol=1e-3)


def test_thresholds_are_probabilities():
    with pytest.raises(ValueError, match=r"between 0 and 1, got 1\.5"):
        masks.logit_of(1.5)
    classes, logits, geometry = np.zeros((2, 3)), np.zeros((2, 4, 4)), Geometry((16, 16), (16, 16), (16, 16))
    given = {"mask_threshold": 0.5, "stuff": set()}
    for value in (2.0, -0.1, float("nan")):
        with pytest.raises(ValueError, match="threshold must lie"):
            masks.panoptic(classes, logits, geometry, threshold=value, overlap_mask_area_threshold=0.5, **given)
        with pytest.raises(ValueError, match="overlap_mask_area_threshold must lie"):
            masks.panoptic(classes, logits, geometry, threshold=0.5, overlap_mask_area_threshold=value, **given)
        with pytest.raises(ValueError, match="threshold must lie"):
            masks.instances(classes, logits, geometry, threshold=value, num_instances=3, **given)
        with pytest.raises(ValueError, match="threshold must lie"):
            masks.boxes(classes, np.zeros((2, 4)), geometry, value)
