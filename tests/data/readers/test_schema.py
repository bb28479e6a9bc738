# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Segments of id maps and classes of segments, against plain loops over pixels."""

import numpy as np
import pytest

from hfseg.data.readers.schema import compact_ids, segments_from_map, semantic_map


def maps():
    draw = np.random.default_rng(0)
    small = draw.integers(0, 5, (7, 9))
    yield small
    yield small * 3_000_000  # beyond the table: counted run by run
    yield small - 2
    yield np.full((3, 4), 1 << 20)
    yield np.zeros((0, 4), dtype=np.int64)


@pytest.mark.parametrize("segmentation", maps(), ids=["small", "large", "negative", "one", "empty"])
def test_compact_ids_are_numpys_unique(segmentation):
    ids, positions = compact_ids(segmentation)
    expected, inverse = np.unique(segmentation, return_inverse=True)
    assert ids.tolist() == expected.tolist() and ids.dtype == np.int64
    np.testing.assert_array_equal(positions, inverse.reshape(segmentation.shape))


@pytest.mark.parametrize("factor", [1, 2_000_003])
def test_segments_are_those_of_a_loop_over_pixels(factor):
    segmentation = np.random.default_rng(1).integers(0, 4, (6, 11)) * factor
    segmentation[2:4, 5] = 7 * factor
    categories = {int(number): index for index, number in enumerate(np.unique(segmentation)[1:])}
    found = segments_from_map(segmentation, categories, {7 * factor})
    assert [segment["id"] for segment in found] == sorted(categories)
    for segment in found:
        rows, columns = np.nonzero(segmentation == segment["id"])
        assert segment["area"] == len(rows) and segment["category_id"] == categories[segment["id"]]
        box = [columns.min(), rows.min(), columns.max() - columns.min() + 1, rows.max() - rows.min() + 1]
        assert segment["bbox"] == box
        assert segment["iscrowd"] == (segment["id"] == 7 * factor)


def test_a_map_of_background_has_no_segment_and_unknown_ids_are_named():
    assert segments_from_map(np.zeros((2, 3), dtype=np.int64), {}) == []
    with pytest.raises(ValueError, match="segment id 9, which has no entry among the 1 known"):
        segments_from_map(np.array([[1, 9]]), {1: 0})


def test_crowds_and_what_is_not_listed_are_void():
    segmentation = np.array([[0, 1, 2], [3, 4, 1]])
    listed = [{"id": 1, "category_id": 6}, {"id": 2, "category_id": 0, "iscrowd": 1}, {"id": 4, "category_id": 0}]
    assert semantic_map(segmentation, listed).tolist() == [[255, 6, 255], [255, 0, 6]]
    assert semantic_map(segmentation, listed, ignore_index=-1).tolist() == [[-1, 6, -1], [-1, 0, 6]]
