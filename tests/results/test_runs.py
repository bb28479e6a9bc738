# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Runs, boxes and areas from bits and id maps equal those of the drawn masks."""

import numpy as np
import pytest

from hfseg.results.runs import box_of_runs, runs_of_bits, runs_of_ids


def plain_runs(mask):
    edges = np.flatnonzero(np.diff(np.pad(mask.T.ravel().astype(int), 1)))
    return edges[::2], edges[1::2]


def masks():
    rng = np.random.default_rng(0)
    for height, width in ((1, 1), (7, 9), (60, 83), (1, 300), (300, 1), (16, 16)):
        yield np.zeros((height, width), dtype=bool)
        yield np.ones((height, width), dtype=bool)
        for density in (0.02, 0.5, 0.98):
            yield rng.random((height, width)) < density
        top, left = rng.integers(height), rng.integers(width)
        box = np.zeros((height, width), dtype=bool)
        box[top : top + height // 2 + 1, left : left + width // 2 + 1] = True
        yield box
        band = np.zeros((height, width), dtype=bool)
        band[:, left:] = True  # as high as the image: a run goes on from column to column
        yield band


def test_runs_of_bits_are_those_of_the_mask():
    for mask in masks():
        starts, ends = runs_of_bits(np.packbits(mask, axis=1), mask.shape[1])
        expected = plain_runs(mask)
        assert np.array_equal(starts, expected[0]) and np.array_equal(ends, expected[1]), mask.shape
        assert (ends - starts).sum() == mask.sum()
        rows, columns = np.nonzero(mask)
        box = [0, 0, 0, 0]
        if len(rows):
            left, top = columns.min(), rows.min()
            box = [left, top, columns.max() + 1 - left, rows.max() + 1 - top]
        assert box_of_runs(starts, ends, len(mask)) == box


def test_runs_of_ids_are_those_of_each_id():
    ids = np.random.default_rng(0).integers(0, 5, (23, 31)) * 3
    for segment_id, (starts, ends) in zip((3, 12, 5, 0), runs_of_ids(ids, (3, 12, 5, 0))):
        expected = plain_runs(ids == segment_id)
        assert np.array_equal(starts, expected[0]) and np.array_equal(ends, expected[1])
    assert [len(starts) for starts, _ in runs_of_ids(np.zeros((0, 4), dtype=int), (1,))] == [0]


@pytest.mark.parametrize("wide", [False, True])
def test_only_the_box_is_unpacked(monkeypatch, wide):
    sizes = []
    plain = np.unpackbits
    monkeypatch.setattr(np, "unpackbits", lambda bits, **kwargs: sizes.append(bits.size) or plain(bits, **kwargs))
    mask = np.zeros((400, 800), dtype=bool)
    mask[100:110, 200 : 700 if wide else 230] = True
    runs_of_bits(np.packbits(mask, axis=1), 800)
    assert sizes == [10 * (63 if wide else 4)]
