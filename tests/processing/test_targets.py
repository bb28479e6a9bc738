# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Targets from maps: nearest neighbor as in Pillow, segments by class."""

import numpy as np
import pytest
from PIL import Image

from hfseg.processing.targets import make_segment_targets, resize_nearest


@pytest.mark.parametrize("shape", [(7, 9), (30, 41), (1, 100)])
@pytest.mark.parametrize("size", [(20, 33), (5, 4), (61, 7)])
def test_nearest_resize_of_maps_equals_pillow(shape, size):
    array = np.arange(shape[0] * shape[1], dtype=np.int32).reshape(shape)
    expected = np.asarray(Image.fromarray(array).resize(size[::-1], Image.Resampling.NEAREST))
    assert np.array_equal(resize_nearest(array, *size), expected)


def test_semantic_targets_by_class():
    class_map = np.array([[0, 2, 2], [255, 0, 7]])
    id_map, labels = make_segment_targets(class_map)
    assert labels.tolist() == [0, 2, 7] and id_map.tolist() == [[1, 2, 2], [0, 1, 3]]
    id_map, labels = make_segment_targets(class_map, do_reduce_labels=True)
    assert labels.tolist() == [1, 6] and id_map.tolist() == [[0, 1, 1], [0, 0, 2]]
    # An id of 255 that the table knows is a segment like any other.
    assert make_segment_targets(class_map, {255: 4})[1].tolist() == [4]
    # Large ids take the sorting route.
    assert make_segment_targets(class_map + 10_000_000, {10_000_002: 5})[0].tolist() == [[0, 1, 1], [0, 0, 0]]


def test_what_no_object_covers_is_void_where_labels_are_reduced():
    """Segment id 0, although the table gives it a class; without reducing it is a segment like any other."""
    ids = np.array([[0, 1], [2, 2]])
    table = {0: 5, 1: 3, 2: 0}
    id_map, labels = make_segment_targets(ids, table, do_reduce_labels=True)
    assert id_map.tolist() == [[0, 1], [0, 0]] and labels.tolist() == [2]
    id_map, labels = make_segment_targets(ids, table)
    assert id_map.tolist() == [[1, 2], [3, 3]] and labels.tolist() == [5, 3, 0]
    id_map, labels = make_segment_targets(ids, table, ignore_index=3)
    assert id_map.tolist() == [[1, 0], [2, 2]] and labels.tolist() == [5, 0]
    with pytest.raises(ValueError, match=r"holds class ids \[5\]; must be 0\.\.4"):
        make_segment_targets(ids, table, num_labels=5)
