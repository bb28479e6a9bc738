# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Numbers of the ten quantitative tasks, against cases worked out by hand."""

import numpy as np
import pytest
from PIL import Image

from hfseg.data.readers.in_context import PAPER_TASKS, TASKS
from hfseg.metrics.in_context import (
    QUANTITATIVE_TASKS,
    TASK_METRICS,
    InContextMetric,
    align_depth,
    box_mask,
    depth_errors,
    mask_iou,
    normal_errors,
)
from hfseg.results.visual_formats import FORMATS


def test_all_tasks_are_measured():
    """The 22 of the paper, and foreground segmentation, one of the ten of which it prints numbers."""
    assert set(TASK_METRICS) == {*PAPER_TASKS, "foreground_segmentation"} and set(TASK_METRICS) <= set(TASKS)
    assert len(QUANTITATIVE_TASKS) == 10 and set(QUANTITATIVE_TASKS) - set(PAPER_TASKS) == {"foreground_segmentation"}


def test_depth_is_affine_invariant():
    draw = np.random.default_rng(0)
    truth = draw.uniform(1, 9, (20, 30))
    truth[0, :5] = [0, np.nan, np.inf, -1, 0]  # unknown
    with np.errstate(invalid="ignore"):
        prediction = np.where(np.isfinite(truth), truth, 0) / 20 + 0.3
    np.testing.assert_allclose(align_depth(prediction, truth)[1:], truth[1:], rtol=1e-9)
    perfect = {"abs_rel": pytest.approx(0, abs=1e-9), "delta1": 100, "mse": pytest.approx(0, abs=1e-9)}
    assert depth_errors(prediction, truth) == perfect
    # Truth 1, 1, 3, 3 from a prediction 0, 1, 0, 1: least squares gives 2 everywhere.
    errors = depth_errors(np.array([[0.0, 1, 0, 1]]), np.array([[1.0, 1, 3, 3]]))
    assert errors["abs_rel"] == pytest.approx((1 + 1 + 1 / 3 + 1 / 3) / 4) and errors["delta1"] == 0
    with pytest.raises(ValueError, match="No pixel"):
        align_depth(np.zeros((2, 2)), np.zeros((2, 2)))


def room() -> np.ndarray:
    """Depth of a room of 1 to 10 meters, 480 x 640."""
    rows, columns = np.mgrid[:480, :640]
    return 1 + 9 * (rows[::-1] / 479) ** 3 + 0.2 * np.sin(columns / 40) * (rows[::-1] / 479)


@pytest.mark.parametrize("space", ["disparity", "depth"])
def test_a_perfect_image_is_perfect_in_its_own_space_only(space):
    truth = room()
    shown = -1 / truth if space == "disparity" else truth
    answer = FORMATS["depth"].decode(FORMATS["depth"].encode(shown))
    other = "depth" if space == "disparity" else "disparity"
    assert depth_errors(answer, truth, depth_space=space)["abs_rel"] < 0.01
    assert depth_errors(answer, truth, depth_space=other)["abs_rel"] > 0.1
    metric = InContextMetric("depth_estimation", depth_space=space)
    metric.add(FORMATS["depth"].encode(shown), FORMATS["depth"].encode(shown), truth)
    found = metric.compute()
    assert found["abs_rel"] < 0.01 and found["delta1"] > 99.9 and found["mse"] < 0.01


def test_disparity_by_hand():
    """Disparities 1, 1/2, 1/4 plus noise in one: least squares in 1/d, then 1/..., cut at the cap."""
    truth = np.array([[1.0, 2.0, 4.0, 50.0]])
    given = np.array([[1.0, 0.5, 0.0, 0.7]])
    system = np.stack([given[0, :3], np.ones(3)], 1)
    line, *_ = np.linalg.lstsq(system, 1 / truth[0, :3], rcond=None)
    depth = 1 / np.maximum(system @ line, 1 / 10)
    errors = depth_errors(given, truth, depth_space="disparity", cap=10)
    assert errors["abs_rel"] == pytest.approx(np.mean(np.abs(depth - truth[0, :3]) / truth[0, :3]))
    assert errors["mse"] == pytest.approx(np.mean((depth - truth[0, :3]) ** 2))


def test_eigen_crop_counts_its_rows_and_columns():
    truth = room()
    answer = truth.copy()
    answer[:45] = answer[471:] = 0
    answer[:, :41] = answer[:, 601:] = 0
    assert depth_errors(answer, truth, crop="eigen")["abs_rel"] == pytest.approx(0, abs=1e-9)
    assert depth_errors(answer, truth)["abs_rel"] > 0.05
    answer[45, 41] = 100
    assert depth_errors(answer, truth, crop="eigen")["abs_rel"] > 0
    with pytest.raises(ValueError, match="480 x 640"):
        depth_errors(answer[:100], truth[:100], crop="eigen")
    with pytest.raises(ValueError, match="disparity, depth"):
        depth_errors(answer, truth, depth_space="log")


def test_normals_are_pooled_over_pixels():
    """One image of 3 pixels at 0 degrees, one of 1 at 40: 10 over pixels, 20 over images."""
    up = np.array([0.0, 0, 1])
    tilted = np.array([np.sin(np.radians(40)), 0, np.cos(np.radians(40))])
    image = {
        "three": FORMATS["normal"].encode(np.array([[up] * 4])),
        "one": FORMATS["normal"].encode(np.array([[tilted] * 4])),
    }
    truths = {"three": np.array([[up, up, up, 0 * up]]), "one": np.array([[up, 0 * up, 0 * up, 0 * up]])}
    for per_image, angle, share in ((False, 10, 75), (True, 20, 50)):
        metric = InContextMetric("normal_estimation", normals_per_image=per_image)
        for key in image:
            metric.add(image[key], image[key], truths[key])
        joined = InContextMetric("normal_estimation", normals_per_image=per_image)
        halves = []
        for key in image:
            half = InContextMetric("normal_estimation", normals_per_image=per_image)
            half.add(image[key], image[key], truths[key])
            halves.append(half.state_dict())
        joined.load_states(halves)
        assert metric.compute() == joined.compute()
        assert metric.compute()["mean_angle"] == pytest.approx(angle, abs=0.4)
        assert metric.compute()["within_11.25"] == pytest.approx(share)


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
    with pytest.raises(ValueError, match="no metrics of 'gray_depth_estimation'"):
        InContextMetric("gray_depth_estimation")
    with pytest.raises(ValueError, match="abs_rel, delta1"):
        InContextMetric("depth_estimation", only=("fid",))
