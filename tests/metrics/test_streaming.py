# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The base of metrics: sums instead of predictions, merged from processes, in percent."""

import datasets
import evaluate
import numpy as np
import pytest
import torch
from PIL import Image

from hfseg.metrics.streaming import StreamingMetric, in_percent, to_numpy


class Share(StreamingMetric):
    """Share of equal pixels, over all images together."""

    shares = frozenset(["share"])

    def __init__(self, classes=2):
        self.classes = classes
        super().__init__()

    def _info(self):
        features = datasets.Features({"predictions": datasets.Value("int64"), "references": datasets.Value("int64")})
        return evaluate.MetricInfo(description="", citation="", inputs_description="", features=features)

    def _initial_state(self):
        return {"right": 0, "pixels": np.zeros(self.classes, dtype=np.int64)}

    def _update(self, prediction, reference):
        prediction, reference = to_numpy(prediction), to_numpy(reference)
        self._state["right"] += int((prediction == reference).sum())
        self._state["pixels"] += np.bincount(reference.ravel(), minlength=self.classes)

    def _result(self):
        total = int(self._state["pixels"].sum())
        return {"share": self._state["right"] / total, "num_images": self._num_images, "num_pixels": total}


def images(count):
    draw = np.random.default_rng(0)
    return [(draw.integers(0, 2, (4, 3 + n)), draw.integers(0, 2, (4, 3 + n))) for n in range(count)]


def test_batches_and_processes_give_the_pooled_share():
    pairs = images(5)
    right, total = sum(int((a == b).sum()) for a, b in pairs), sum(b.size for _, b in pairs)
    expected = {"share": pytest.approx(100 * right / total), "num_images": 5, "num_pixels": total}
    whole, parts = Share(), [Share(), Share()]
    whole.add_batch(predictions=[a for a, _ in pairs[:3]], references=[b for _, b in pairs[:3]])
    for prediction, reference in pairs[3:]:
        whole.add(prediction=torch.from_numpy(prediction), reference=reference.tolist())
    for index, (prediction, reference) in enumerate(pairs):
        parts[index % 2].add(prediction=prediction, reference=reference)
    state = parts[1].state_dict()
    parts[0].merge_state(state)
    assert parts[0].compute() == expected and whole.compute() == expected
    assert parts[1].state_dict()["num_images"] == state["num_images"] == 2  # merging leaves the giver alone
    with pytest.raises(ValueError, match="nothing to compute"):
        whole.compute()


def test_a_state_is_a_copy_and_can_be_loaded():
    metric = Share()
    metric.add(prediction=np.array([0, 1]), reference=np.array([0, 0]))
    state = metric.state_dict()
    metric.add(prediction=np.array([1, 1]), reference=np.array([1, 1]))
    assert state["num_images"] == 1 and state["pixels"].tolist() == [2, 0]
    other = Share()
    other.add(prediction=np.array([1]), reference=np.array([1]))
    other.load_state_dict(state)  # instead of what was there
    assert other.compute() == {"share": 50.0, "num_images": 1, "num_pixels": 2}


def test_what_does_not_fit_is_refused():
    metric = Share()
    with pytest.raises(ValueError, match="2 predictions but 1 references"):
        metric.add_batch(predictions=[[0], [1]], references=[[0]])
    with pytest.raises(ValueError, match="must both be given"):
        metric.add_batch(predictions=[[0]])
    with pytest.raises(ValueError, match="made for different classes"):
        metric.merge_state(Share(3).state_dict())
    with pytest.raises(ValueError, match="merge states of the same metric"):
        metric.merge_state({"num_images": 1, "other": 2})
    for call in (metric.add, metric.add_batch, metric.compute):
        with pytest.raises(ValueError, match="unknown inputs"):
            call(reduce_labels=True)


def test_shares_are_percent_and_counts_and_absences_stay():
    result = {"ap": 0.25, "ar": -1, "tp": 3, "sizes": {"small": 0.5, "large": None}, "dice": None}
    shares = frozenset(["ap", "ar", "sizes", "dice"])
    expected = {"ap": 25, "ar": -1, "tp": 3, "sizes": {"small": 50, "large": None}, "dice": None}
    assert in_percent(result, shares) == expected
    rows = {"per_class": {"cat": {"ap": 0.1, "tp": 2}, "dog": 0.5, "cow": None}}
    assert in_percent(rows, shares) == {"per_class": {"cat": {"ap": 10, "tp": 2}, "dog": 50, "cow": None}}


def test_arrays_of_everything():
    for values in (
        torch.tensor([[1, 2]], requires_grad=False),
        [[1, 2]],
        Image.fromarray(np.array([[1, 2]], np.uint8)),
    ):
        assert to_numpy(values).tolist() == [[1, 2]]
    assert to_numpy(torch.ones(2, requires_grad=True)).tolist() == [1, 1]
