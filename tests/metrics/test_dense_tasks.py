# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Numbers of keypoints, edges, segments, flow and objects in clips: closed forms, and perfect answers by every task."""

import numpy as np
import pytest

from hfseg.data.readers.in_context import PAPER_TASKS, ShapesSource, make_pair
from hfseg.metrics.dense_tasks import (
    edge_counts,
    endpoint_error,
    f_measure,
    keypoint_hits,
    object_scores,
    segment_counts,
)
from hfseg.metrics.in_context import TASK_METRICS, TRUTHS, InContextMetric

PERFECT = {"pq": 100, "sq": 100, "rq": 100, "f1": 100, "pck@0.2": 100, "j&f": 100, "j": 100, "f": 100}


def test_keypoints_are_hits_within_a_fifth_of_the_person():
    person = np.zeros((17, 3))
    person[:3] = [[0, 0, 1], [100, 0, 1], [0, 50, 1]]  # 100 pixels long: 20 pixels are near
    answer = person.copy()
    answer[0, :2] = [12, 16]  # exactly 20 away
    answer[1, :2] = [100, 21]
    answer[2, 2] = 0  # not found
    assert keypoint_hits(answer, person[None]) == (1, 3)
    # Another person has the second keypoint there.
    other = np.zeros((17, 3))
    other[1], other[5] = [100, 22, 1], [200, 22, 1]
    assert keypoint_hits(answer, np.stack([person, other])) == (2, 4)
    assert keypoint_hits(answer, np.zeros((1, 17, 3))) == (0, 0)


def test_edges_count_within_their_tolerance():
    truth, answer = np.zeros((90, 120), dtype=bool), np.zeros((90, 120), dtype=bool)  # diagonal 150: 1.125 pixels
    truth[40, 10:110] = True
    answer[41, 10:60], answer[43, 60:110] = True, True
    counts = edge_counts(answer, truth)
    # Of the other half, the pixel next to the near half is within reach of it.
    assert counts.tolist() == [50, 100, 50, 100]
    assert f_measure(counts) == pytest.approx(0.5)
    assert f_measure(np.zeros(4)) == 1.0
    assert f_measure(edge_counts(answer, np.zeros_like(truth))) == 0.0


def test_segments_are_matched_above_one_half():
    truth = np.zeros((10, 20), dtype=int)
    truth[:, :10], truth[:, 10:14] = 1, 2
    answer = np.zeros_like(truth)
    answer[:, :8] = 7  # IoU 0.8
    answer[:, 12:16] = 9  # IoU 2 / 6
    assert segment_counts(answer, truth).tolist() == pytest.approx([0.8, 1, 1, 1])
    answer[0, 19] = 5  # half a percent of the image is a segment, a speck is not
    assert segment_counts(answer, truth)[2] == 2
    assert segment_counts(answer, truth, smallest=0.006)[2] == 1


def test_flow_counts_where_it_is_known():
    truth = np.zeros((2, 3, 2))
    answer = truth + np.array([3, 4])
    truth[0, 0] = np.nan
    assert endpoint_error(answer, truth) == pytest.approx(5.0)
    with pytest.raises(ValueError, match="flow"):
        endpoint_error(answer, np.full_like(truth, np.nan))


def test_objects_of_a_clip_are_matched_over_all_frames():
    truth = np.zeros((3, 40, 40), dtype=int)
    truth[:, 5:15, 5:15], truth[:, 25:35, 25:35] = 1, 2
    region, boundary = object_scores(np.where(truth == 1, 8, np.where(truth == 2, 3, 0)), truth)
    assert region == [1.0, 1.0] and boundary == [1.0, 1.0]
    # The second object is lost in the last frame, and a third one is made up.
    answer = truth.copy()
    answer[2, 25:35, 25:35] = 0
    answer[:, 0:3, 30:38] = 4
    region, boundary = object_scores(answer, truth)
    assert region == pytest.approx([1.0, 2 / 3]) and boundary == pytest.approx([1.0, 2 / 3])
    # Both objects in one color: one of the two has a partner.
    region, _ = object_scores((truth > 0).astype(int), truth)
    assert sorted(region) == pytest.approx([0.0, 0.5])


def records(task):
    """A few records of a task with truth for it."""
    if "pose" in task:
        people = np.zeros((2, 17, 3), dtype=np.float32)
        people[0, :, 0], people[0, :, 1], people[0, :, 2] = 20 + 6 * np.arange(17), 30 + 3 * np.arange(17), 1
        return [{"image": np.zeros((128, 160, 3), np.uint8), "keypoints": people}]
    frames = 17 if PAPER_TASKS[task].is_video else 0
    source = ShapesSource(num_scenes=2, image_size=(64, 96), split="test", num_frames=frames)
    return [source[index] for index in range(2)]


# Without those whose numbers come from networks that have to be fetched (FID, LPIPS).
MEASURABLE = [task for task in PAPER_TASKS if set(TASK_METRICS[task]) - {"lpips", "fid"}]


@pytest.mark.parametrize("task", MEASURABLE)
def test_a_perfect_answer_is_perfect(task):
    """What the target shows, at its size, by the route of the evaluation; the images' 8 bits are all that is lost."""
    names = [name for name in TASK_METRICS[task] if name not in ("lpips", "fid")]
    metric = InContextMetric(task, tuple(names))
    for record in records(task):
        _, target = make_pair(PAPER_TASKS[task], record, np.random.default_rng(0))
        metric.add(target, target, record[TRUTHS[task]] if task in TRUTHS else None)
    numbers = metric.compute()
    assert set(numbers) == set(names)
    for name, value in numbers.items():
        if name in PERFECT:
            assert value == pytest.approx(PERFECT[name]), name
        elif name in ("psnr",):
            assert value == np.inf or value > 60
        elif name == "ssim":
            assert value == pytest.approx(1.0, abs=1e-4)
        elif name in ("delta1", "within_11.25", "mean_image_iou"):
            assert value > 99.5, name
        else:  # errors
            assert value < {"abs_rel": 0.01, "mean_angle": 0.5, "epe": 0.1}.get(name, 0.02), (name, value)


def test_the_frame_that_is_known_does_not_count():
    """A prediction begins with the last frame that was given; only those behind it are compared."""
    target = np.random.default_rng(0).integers(0, 255, (3, 16, 16, 3), dtype=np.uint8)
    answer = target + 1  # 20 log10(255) = 48.13 dB
    answer[0] = 255 - target[0]
    metric = InContextMetric("frame_prediction", ("psnr",))
    metric.add(answer, target)
    assert metric.compute()["psnr"] == pytest.approx(20 * np.log10(255), abs=1e-3)
    other = InContextMetric("depth_to_video", ("psnr",))
    other.add(answer, target)
    assert other.compute()["psnr"] < 40


def test_counts_of_processes_add_up():
    metrics = [InContextMetric("panoptic_segmentation") for _ in range(3)]
    for index, record in enumerate(records("panoptic_segmentation")):
        _, target = make_pair(PAPER_TASKS["panoptic_segmentation"], record, np.random.default_rng(0))
        answer = np.roll(target, 5 + 9 * index, axis=1)
        for metric in (metrics[0], metrics[1 + index]):
            metric.add(answer, target)
    joined = InContextMetric("panoptic_segmentation")
    joined.load_states([metrics[1].state_dict(), metrics[2].state_dict()])
    assert joined.compute() == pytest.approx(metrics[0].compute())
    assert 0 < joined.compute()["pq"] < 100
