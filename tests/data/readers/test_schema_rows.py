# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Rows of masks without names and of in-context tasks; every reader is tried in `test_arrow.py`."""

import json

import numpy as np
import pytest
from PIL import Image

from hfseg.data.readers.in_context import ShapesSource, find_task, make_pair
from hfseg.data.readers.promptable import CocoMasks
from hfseg.data.readers.schema_rows import PairRows, PromptableRows, rows_of
from hfseg.results.run_lengths import decode_run_lengths


def test_polygons_become_run_lengths(tmp_path):
    Image.fromarray(np.full((20, 30, 3), 9, np.uint8)).save(tmp_path / "a.jpg")
    square = [[2, 3, 10, 3, 10, 9, 2, 9]]
    content = {
        "images": [{"id": 5, "file_name": "a.jpg", "height": 20, "width": 30}],
        "annotations": [{"id": 1, "image_id": 5, "segmentation": square, "iscrowd": 0}],
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    rows = rows_of(CocoMasks(tmp_path / "a.json", tmp_path))
    assert isinstance(rows, PromptableRows)
    row = rows.row(0)
    drawn = decode_run_lengths(row["masks"][0])
    assert drawn.shape == (20, 30) and drawn[3:9, 2:10].all() and drawn.sum() == 48 and row["image_id"] == "5"


def test_pairs_are_those_of_the_task_and_always_the_same():
    source = ShapesSource(num_scenes=2, image_size=(32, 32))
    rows = rows_of(source, ["deraining"])
    assert isinstance(rows, PairRows) and len(rows) == 2 and rows.row(1) == rows.row(1)
    assert rows.row(1)["input"] != PairRows(source, ["deraining"], seed=1).row(1)["input"]
    every = PairRows(source)
    assert all(set(task.needs) <= set(source.keys) for task in every.tasks) and len(every.tasks) > 10
    _, target = make_pair(find_task("deraining"), source[1], np.random.default_rng(0))
    np.testing.assert_array_equal(target, source[1]["image"])


def test_samples_that_show_nothing_are_left_out():
    class Empty:
        keys = ("image", "segmentation", "segments_info", "thing_class_ids")

        def __len__(self):
            return 1

        def __getitem__(self, index):
            blank = np.zeros((16, 16), np.int32)
            image = np.zeros((16, 16, 3), np.uint8)
            return {"image": image, "segmentation": blank, "segments_info": [], "thing_class_ids": ()}

    assert PairRows(Empty(), ["foreground_segmentation"]).row(0) is None


@pytest.mark.parametrize(
    ("tasks", "words"), [(["poses"], "no task 'poses'"), (["depth_estimation", "optical_flow"], "flow")]
)
def test_tasks_that_cannot_be_made(tasks, words):
    with pytest.raises(ValueError, match=words):
        PairRows(ShapesSource(num_scenes=1, image_size=(32, 32)), tasks)
