# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Box AP of detectors whose answers are known: the truth, shifted boxes, other classes."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from transformers.utils import ModelOutput

from hfseg import ProScaleImageProcessor
from hfseg.data import ShapesDataset
from hfseg.evaluation.object_detection import (
    ObjectDetectionEvaluator,
    check_things,
    evaluate_object_detection,
    number_boxes,
    true_boxes,
)

SIDE = 96


class Oracle(nn.Module):
    """Answers with the true boxes of the images in turn, in the padded input."""

    def __init__(self, dataset, shift=0.0, classes=10, scale=1.0):
        super().__init__()
        self.scale, self.place = nn.Parameter(torch.tensor(scale)), 0
        self.answers = []
        for index in range(len(dataset)):
            logits, boxes = torch.full((6, classes), -9.0), torch.full((6, 4), 0.01)
            for row, entry in enumerate(true_boxes(dataset[index], frozenset(dataset.stuff_class_ids))):
                left, top, right, bottom = (value / SIDE for value in entry["box"])
                boxes[row] = torch.tensor([(left + right) / 2 + shift, (top + bottom) / 2, right - left, bottom - top])
                logits[row, entry["label_id"]] = 3.0
            self.answers.append((logits, boxes))

    def forward(self, pixel_values):
        logits, boxes = self.answers[self.place]
        self.place += 1
        sizes = torch.tensor([pixel_values.shape[-2:]])
        return ModelOutput(logits=logits[None] * self.scale, pred_boxes=boxes[None], input_sizes=sizes)


@pytest.fixture(scope="module")
def dataset():
    return ShapesDataset("validation", 3, image_size=(SIDE, SIDE))


def processor():
    return ProScaleImageProcessor(size={"shortest_edge": SIDE, "longest_edge": SIDE})


def test_the_truth_has_100_and_shifted_boxes_less(dataset):
    numbers = evaluate_object_detection(Oracle(dataset), processor(), dataset)
    assert numbers["box_ap"] == numbers["box_ap50"] == pytest.approx(100) and "box_ap_small" in numbers
    shifted = evaluate_object_detection(Oracle(dataset, shift=0.02), processor(), dataset)
    assert 0 < shifted["box_ap"] < 90 and shifted["box_ap50"] > shifted["box_ap"]
    assert evaluate_object_detection(Oracle(dataset, shift=0.5), processor(), dataset)["box_ap"] < 5


def test_ranks_share_the_images(dataset, monkeypatch):
    from hfseg.evaluation import object_detection

    states = []
    monkeypatch.setattr(object_detection, "gathered", lambda own, ranks: states.append(own) or list(states))
    for rank in range(2):
        model = Oracle(dataset)
        model.answers = model.answers[rank::2]
        numbers = evaluate_object_detection(model, processor(), dataset, rank=rank, ranks=2)
    assert numbers["box_ap"] == pytest.approx(100) and len(states) == 2


def evaluator(dataset, **options):
    model = Oracle(dataset)
    model.config = SimpleNamespace(id2label=dataset.id2label)
    loaded = SimpleNamespace(model=model, image_processor=processor(), task="object-detection")
    common = {"split": None, "limit": None, "num_workers": 0, "overlays": 1, "batch_size": 1}
    given = {**ObjectDetectionEvaluator.options_of_task, **common, **options}
    return ObjectDetectionEvaluator(loaded, dataset, SimpleNamespace(**given))


def test_evaluator_counts_and_draws(dataset):
    outcome = (own := evaluator(dataset)).measure(0, 1)
    assert outcome.metrics["box_ap"] == pytest.approx(100) and outcome.number_of_images == 3
    by_class = {row["name"]: row["box_ap"] for row in outcome.per_class}
    assert set(by_class) == {"circle", "square", "triangle", "star", "ring", "cross"}
    assert set(outcome.metrics) == set(outcome.averages)
    assert {name: np.mean(values) for name, values in outcome.curves.items()} == {
        "IoU 0.50": outcome.metrics["box_ap50"],
        "IoU 0.75": outcome.metrics["box_ap75"],
        "IoU 0.50:0.95": pytest.approx(outcome.metrics["box_ap"]),
    }
    own.loaded.model.place = 0
    (shown,) = own.draw(1)["The first images"]
    assert np.asarray(shown.image).any()


def test_a_box_has_the_color_of_the_true_one_that_it_covers():
    truth = [{"box": [0.0, 0.0, 10.0, 10.0]}, {"box": [20.0, 0.0, 30.0, 10.0]}]
    found = [{"box": box} for box in ([21.0, 0.0, 31.0, 10.0], [20.0, 0.0, 29.0, 10.0], [0.0, 6.0, 10.0, 16.0])]
    number_boxes(truth, found)
    # The second box covers an object that a better one has; the third has an IoU of 4/16.
    assert [entry["color_number"] for entry in truth + found] == [0, 1, 1, 2, 3]
    number_boxes([], found)
    assert [entry["color_number"] for entry in found] == [0, 1, 2]


def test_annotations_need_a_coco_dataset(dataset):
    with pytest.raises(ValueError, match="belongs to a COCO dataset"):
        evaluator(dataset, instance_annotations="instances.json")
    assert evaluator(dataset, instance_annotations="none").measure(0, 1).metrics["box_ap"] == pytest.approx(100)


def test_data_without_boxes_are_refused():
    with pytest.raises(ValueError, match="needs labels with segments"):
        check_things([{"segmentation_map": np.zeros((2, 2))}])

    class Stuff(list):
        id2label, stuff_class_ids = {0: "sky"}, (0,)

    with pytest.raises(ValueError, match="all classes of the dataset are stuff"):
        check_things(Stuff([{"segmentation": np.zeros((2, 2))}]))
