# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Classes of model and dataset: matched by id or by name, and what does not match is explained."""

import pytest

from hfseg.evaluation.labels import LabelMatch, match_labels

LABELS = {0: "traffic light", 1: "car", 2: "sky"}


def test_equal_names_match_whatever_their_spelling():
    assert match_labels({0: "Traffic-Light", 1: "CAR", 2: "sky"}, LABELS) == LabelMatch((0, 1, 2), "id")


def test_match_by_name_leaves_out_what_the_other_side_lacks():
    match = match_labels({0: "sky", 1: "tree", 2: "traffic_light", 3: "bus"}, LABELS, by="name")
    assert match.to_dataset == (2, -1, 0, -1)
    assert match.not_in_dataset == ("tree", "bus") and match.not_in_model == ("car",)
    assert match.to_model([0, 2]) == [0, 2]


@pytest.mark.parametrize(
    "model_labels, by, message",
    [
        ({0: "car", 1: "sky", 2: "traffic light"}, None, "same classes in another order; --match_labels name"),
        ({0: "a", 1: "b", 2: "c"}, None, "but other names .*only the model has a, b, c.*--match_labels id"),
        ({0: "car", 1: "sky"}, None, "2 classes and the dataset 3 .*only the data has traffic light.* 2 common ones"),
        ({0: "a", 1: "b"}, None, "no name agrees"),
        ({0: "a", 1: "b"}, "name", "no name in common"),
        ({0: "car", 1: "sky"}, "id", "2 classes and the dataset 3, so ids cannot be matched"),
        ({0: "car", 2: "sky"}, "name", "without gaps"),
        (LABELS, "color", "not by 'color'"),
    ],
)
def test_what_does_not_match_is_explained(model_labels, by, message):
    with pytest.raises(ValueError, match=message):
        match_labels(model_labels, LABELS, by=by)
