# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Ground truth beside prediction: an object has one color on both sides, and other objects have other colors."""

import numpy as np

from hfseg.evaluation.comparison import MOST_LABELS, compare_segments, in_same_colors
from hfseg.results.colors import class_color, distinct_color


def sides():
    """Two true things on stuff; predicted are the second one shifted a little, a false thing, and the stuff."""
    truth = np.ones((60, 90), dtype=np.int32)
    truth[10:30, 10:30], truth[10:30, 50:70] = 2, 3
    found = np.full((60, 90), 7, dtype=np.int32)
    found[10:30, 52:72], found[40:55, 10:30] = 9, 8
    true = [{"id": 1, "category_id": 5}, {"id": 2, "category_id": 0}, {"id": 3, "category_id": 0}]
    own = [{"id": 9, "label_id": 1}, {"id": 8, "label_id": 0}, {"id": 7, "label_id": 5}]
    own = [{**segment, "score": 0.9} for segment in own]
    return {"segmentation": truth, "segments_info": true}, {"segmentation": found, "segments_info": own}


def test_a_predicted_object_has_the_number_of_the_true_one():
    truth, found = sides()
    true, own = in_same_colors(truth, found, {5})
    assert distinct_color(1) == class_color(5)  # that of the stuff, which is left out
    assert [segment.get("color_number") for segment in true] == [None, 0, 2]
    # IoU 18/22, whatever its class; the false one has a number of its own.
    assert [segment.get("color_number") for segment in own] == [2, 3, None]
    assert [segment["was_fused"] for segment in own] == [False, False, True]
    assert "color_number" not in truth["segments_info"][1], "what is given stays as it is"
    found["segmentation"][10:30, 50:70] = 7
    found["segmentation"][10:30, 61:81] = 9  # IoU 9/31
    assert [segment.get("color_number") for segment in in_same_colors(truth, found, {5})[1]] == [3, 4, None]
    found["segmentation"][:, 40:90] = 9  # all of the object, and seven times as much
    assert [segment.get("color_number") for segment in in_same_colors(truth, found, {5})[1]] == [3, 4, None]


def test_colors_in_the_image():
    truth, found = sides()
    image = np.zeros((60, 90, 3), dtype=np.uint8)
    drawn = np.asarray(compare_segments(image, truth, found, {0: "", 1: "", 5: ""}, {5}))

    def area(color):
        tinted = np.round(np.array(color) / 2)
        return (np.abs(drawn.astype(int) - tinted).max(-1) <= 1).sum()

    # Enlarged by 6; contours and names cover a part.
    expected = {distinct_color(0): 400, distinct_color(2): 800, distinct_color(3): 300, class_color(5): 9300}
    for color, pixels in expected.items():
        assert 0.6 * 36 * pixels < area(color) <= 36 * pixels, color
    assert area(distinct_color(4)) == 0


def test_many_objects_have_no_names_that_would_hide_them():
    rows = np.repeat(np.arange(1, MOST_LABELS + 2), 8)
    ids = np.broadcast_to(rows[:, None], (len(rows), 90)).astype(np.int32)
    segments = [{"id": int(number), "category_id": 0, "score": 1.0} for number in np.unique(ids)]
    side = {"segmentation": ids, "segments_info": segments}
    image = np.zeros((*ids.shape, 3), dtype=np.uint8)
    few = {"segmentation": ids, "segments_info": segments[1:]}
    names = {0: "nucleus", 1: "cell"}
    plate = np.array([24, 24, 28])  # behind names
    plates = [
        (np.asarray(compare_segments(image, given, given, labels)) == plate).all(-1).sum()
        for given, labels in ((side, names), (few, names), (few, {0: "nucleus"}))
    ]
    assert plates[0] == 0 and plates[1] > 1000 and plates[2] == 0
