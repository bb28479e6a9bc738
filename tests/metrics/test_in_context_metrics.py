# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Numbers of the ten quantitative tasks, against cases worked out by hand."""

import numpy as np
import pytest
from PIL import Image

from hfseg.data.readers.in_context import PAPER_TASKS, TASKS
from hfseg.metrics.in_context import (
    TASK_METRICS,
    InContextMetric,
    align_depth,
    box_mask,
    depth_errors,
    mask_iou,
    normal_errors,
)
from hfseg.results.visual_formats import FORMATS


def test_ten_tasks():
    assert (
        len(TASK_METRICS) == 10 and set(TASK_METRICS) <= set(TASKS) and len(set(TASK_METRICS) - set(PAPER_TASKS)) == 1
    )


def test_depth_is_affine_invariant():
    draw = np.random.default_rng(0)
    truth = draw.uniform(1, 9, (20, 30))
    truth[0, :5] = [0, np.nan, np.inf, -1, 0]  # unknown
    with np.errstate(invalid="ignore"):
        prediction = np.where(np.isfinite(truth), truth, 0) / 20 + 0.3
    np.testing.assert_allclose(align_depth(prediction, truth)[1:], truth[1:], rtol=1e-9)
    assert depth_errors(prediction, truth) == {"abs_rel": pytest.approx(0, abs=1e-9), "delta1": 100}
    # Truth 1, 1, 3, 3 from a prediction 0, 1, 0, 1: least squares gives 2 everywhere.
    errors = depth_errors(np.array([[0.0, 1, 0, 1]]), np.array([[1.0, 1, 3, 3]]))
    assert errors["abs_rel"] == pytest.approx((1 + 1 + 1 / 3 + 1 / 3) / 4) and errors["delta1"] == 0
    with pytest.raises(ValueError, match="No pixel"):
        align_depth(np.zeros((2, 2)), np.zeros((2, 2)))


def test_normals():
    truth = np.zeros((1, 4, 3))
    truth[0, :3, 2] = 1  # the last is unknown
    prediction = truth.copy()
    angle = np.radians(30)
    prediction[0, 1] = [np.sin(angle), 0, np.cos(angle)]
    prediction[0, 3] = [1, 0, 0]
    errors = normal_errors(prediction, truth)
    assert errors["mean_angle"] == pytest.approx(10) and errors["within_11.25"] == pytest.approx(200 / 3)


def test_iou_is_per_image():
    """Two images with IoU 1/3 and 1 are 2/3 on average, whatever their areas."""
    metric = InContextMetric("foreground_segmentation")
    left, right = np.zeros((111, 111), bool), np.zeros((111, 111), bool)
    left[:, :74], right[:, 37:] = True, True
    assert mask_iou(left, right) == pytest.approx(37 / 111)
    metric.add(FORMATS["mask"].encode(left), FORMATS["mask"].encode(right))
    small = np.zeros((111, 111), bool)
    small[:3, :3] = True
    metric.add(FORMATS["mask"].encode(small), FORMATS["mask"].encode(small))
    assert metric.compute()["mean_image_iou"] == pytest.approx(100 * (1 / 3 + 1) / 2)
    assert mask_iou(np.zeros((5, 5), bool), np.zeros((5, 5), bool)) == 1


def test_detection_fills_the_largest_region():
    target = FORMATS["detection"].encode(((20, 30, 40, 50), (111, 111)))
    outline = target.copy()
    outline[31:79, 21:59] = 0  # only its frame is drawn
    outline[0:5, 0:5] = 255
    metric = InContextMetric("single_object_detection")
    metric.add(outline, target)
    assert metric.compute()["mean_image_iou"] == 100
    assert not box_mask(None, (4, 4)).any()


def test_colorization_is_of_normalized_pixels():
    metric = InContextMetric("colorization", only=("mse",))
    metric.add(np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 51, np.uint8))  # 0.2
    expected = np.mean([(0.2 / s) ** 2 for s in (0.229, 0.224, 0.225)])
    assert metric.compute()["mse"] == pytest.approx(expected)


def test_restoration():
    pytest.importorskip("torchmetrics")
    draw = np.random.default_rng(0)
    metric = InContextMetric("deraining")
    scores = []
    for spread in (5, 20):
        target = np.asarray(Image.fromarray(draw.integers(60, 190, (8, 8, 3), dtype=np.uint8)).resize((32, 32)))
        answer = np.clip(target + draw.normal(0, spread, target.shape), 0, 255).astype(np.uint8)
        metric.add(answer, target)
        scores.append(-10 * np.log10((((answer.astype(float) - target) / 255) ** 2).mean()))
    found = metric.compute()
    assert found["psnr"] == pytest.approx(np.mean(scores), abs=1e-3) and 0 < found["ssim"] < 1


def test_unknown_names():
    with pytest.raises(ValueError, match="no metrics of 'pose_estimation'"):
        InContextMetric("pose_estimation")
    with pytest.raises(ValueError, match="abs_rel, delta1"):
        InContextMetric("depth_estimation", only=("fid",))
