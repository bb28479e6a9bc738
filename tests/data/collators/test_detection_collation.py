# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Boxes of a batch are the frames of things in the padded input."""

import torch

from hfseg.data.collators.detection_collation import DetectionCollator, boxes_of_ids
from hfseg.data.synthetic.shapes import ShapesDataset


def test_frames_of_a_map():
    ids = torch.zeros(6, 8, dtype=torch.int32)
    ids[1:3, 2:5] = 2
    ids[5, 7] = 1
    assert boxes_of_ids(ids, 2).tolist() == [[7, 5, 8, 6], [2, 1, 5, 3]]
    assert boxes_of_ids(ids * 0, 0).shape == (0, 4)


def test_boxes_of_things_are_shares_of_the_padded_input():
    dataset = ShapesDataset("train", num_scenes=2, image_size=(48, 72))
    examples = [dataset[0], dataset[1]]
    batch = DetectionCollator(num_labels=10, stuff_class_ids=[6, 7, 8, 9])(examples)
    assert batch["pixel_values"].shape == (2, 3, 64, 96)
    for example, labels in zip(examples, batch["labels"]):
        things = [segment for segment in example["segments_info"] if segment["category_id"] < 6]
        expected = {}
        for segment in things:
            left, top, width, height = segment["bbox"]
            box = torch.tensor([(left + width / 2) / 96, (top + height / 2) / 64, width / 96, height / 64])
            expected[tuple(round(value, 4) for value in box.tolist())] = segment["category_id"]
        found = {
            tuple(round(value, 4) for value in box): label
            for box, label in zip(labels["boxes"].tolist(), labels["class_labels"].tolist())
        }
        assert things and found == expected
