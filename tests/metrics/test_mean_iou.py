# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Mean IoU against hand-computed confusion matrices and a direct count over concatenated pixels."""

import numpy as np
import pytest
import torch

from hfseg.metrics.mean_iou import MeanIoU

LABELS = {0: "a", 1: "b", 2: "c", 3: "d"}


def test_hand_computed_set():
    references = [np.array([[0, 0, 1, 255]]), np.array([[1, 1], [2, 2]])]
    predictions = [np.array([[0, 1, 1, 3]]), np.array([[1, 0], [2, 1]])]
    metric = MeanIoU(LABELS)
    for prediction, reference in zip(predictions, references):
        metric.add_batch(predictions=[prediction], references=[torch.from_numpy(reference)])
    result = metric.compute()
    # a: TP 1, FN 1, FP 1; b: TP 2, FN 1, FP 2; c: TP 1, FN 1, FP 0; d: only predicted on an ignored pixel.
    iou = {"a": 1 / 3, "b": 2 / 5, "c": 1 / 2}
    for name, value in iou.items():
        assert result["per_class"][name]["iou"] == pytest.approx(100 * value)
    assert result["per_class"]["d"] == {"iou": None, "accuracy": None, "pixels": 0}
    assert result["mean_iou"] == pytest.approx(100 * (sum(iou.values()) / 3))
    assert result["mean_accuracy"] == pytest.approx(100 * ((1 / 2 + 2 / 3 + 1 / 2) / 3))
    assert result["pixel_accuracy"] == pytest.approx(100 * (4 / 7))
    assert result["frequency_weighted_iou"] == pytest.approx(100 * ((2 * iou["a"] + 3 * iou["b"] + 2 * iou["c"]) / 7))
    assert result["num_classes"] == 3 and result["num_images"] == 2


def test_a_class_without_ground_truth_is_not_in_the_mean_but_its_pixels_are_wrong():
    result = MeanIoU(LABELS).compute(predictions=[np.array([[0, 3]])], references=[np.array([[0, 0]])])
    assert result["mean_iou"] == 50 and result["num_classes"] == 1 and result["per_class"]["d"]["iou"] == 0


def test_predicted_void_is_a_miss_and_no_false_positive():
    result = MeanIoU(LABELS).compute(predictions=[np.array([[0, 255, 1]])], references=[np.array([[0, 0, 1]])])
    assert result["per_class"]["a"]["iou"] == 50 and result["per_class"]["b"]["iou"] == 100


def test_is_a_property_of_the_set_not_a_mean_over_images():
    generator = np.random.default_rng(0)
    references = [generator.integers(0, 4, (h, 5)) for h in (3, 7, 20)]
    predictions = [np.where(generator.random(r.shape) < 0.7, r, generator.integers(0, 4, r.shape)) for r in references]
    result = MeanIoU(LABELS).compute(predictions=predictions, references=references)
    reference, prediction = (np.concatenate([m.ravel() for m in maps]) for maps in (references, predictions))
    direct = [
        ((reference == c) & (prediction == c)).sum() / ((reference == c) | (prediction == c)).sum() for c in LABELS
    ]
    assert result["mean_iou"] == pytest.approx(100 * np.mean(direct), abs=1e-10)
    metrics = [MeanIoU(LABELS), MeanIoU(LABELS)]
    metrics[0].add_batch(predictions=predictions[:1], references=references[:1])
    metrics[1].add_batch(predictions=predictions[1:], references=references[1:])
    metrics[0].merge_state(metrics[1].state_dict())
    assert metrics[0].compute() == result


def test_no_pixel_labeled():
    result = MeanIoU(LABELS).compute(predictions=[np.array([[0]])], references=[np.array([[255]])])
    assert result["mean_iou"] == 0 and result["num_classes"] == 0


@pytest.mark.parametrize(
    "prediction, reference, words",
    [
        ([[0, 1]], [[0]], ["(1, 2)", "(1, 1)"]),
        ([[0, 9]], [[0, 0]], ["prediction", "[9]", "0 to 3"]),
        ([[0, 0]], [[0, 4]], ["reference", "[4]", "255"]),
        ([[0, 0]], [[0, -1]], ["reference", "[-1]"]),
    ],
)
def test_errors(prediction, reference, words):
    with pytest.raises(ValueError) as error:
        MeanIoU(LABELS).compute(predictions=[np.array(prediction)], references=[np.array(reference)])
    assert all(word in str(error.value) for word in words)


def test_errors_of_the_metric_itself():
    with pytest.raises(ValueError, match=r"0 \.\. C-1"):
        MeanIoU({1: "a"})
    with pytest.raises(ValueError, match="also the class"):
        MeanIoU({0: "a", 1: "void"}, ignore_index=1)
    with pytest.raises(ValueError, match="1 predictions but 2 references"):
        MeanIoU(LABELS).add_batch(predictions=[0], references=[0, 1])
    with pytest.raises(ValueError, match="must both be given"):
        MeanIoU(LABELS).add_batch(predictions=[0])


@pytest.mark.parametrize("ignore_index", [255, -1, 65535])
@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint16, np.float32])
def test_one_pass_counts_what_comparing_counts(ignore_index, dtype):
    if ignore_index < 0 and np.dtype(dtype).kind == "u":
        ignore_index = 255
    rng = np.random.default_rng(0)
    names = {index: str(index) for index in range(80)}
    true, found = rng.integers(0, 80, (2, 60, 50))
    true[rng.random(true.shape) < 0.2], found[rng.random(true.shape) < 0.1] = ignore_index, ignore_index
    if ignore_index == 255:  # where nothing is labeled, anything may be predicted
        found[true == ignore_index] = rng.integers(0, 250, (true == ignore_index).sum())
    metric = MeanIoU(names, ignore_index=ignore_index)
    metric.add(prediction=found.astype(dtype), reference=true.astype(dtype))
    confusion = metric.state_dict()["confusion"]
    for row in range(80):
        for column in range(80):
            assert confusion[row, column] == ((true == row) & (found == column)).sum()
        assert confusion[row, 80] == ((true == row) & (found == ignore_index)).sum()
    assert confusion.sum() == (true != ignore_index).sum()
