# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Videos: read as written, and segments that keep their ids from frame to frame."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image

from hfseg.inference.video import IdTracker, VideoReader, VideoWriter
from hfseg.results.segmentation_result import SegmentationResult


def result_of(*rows):
    ids = torch.tensor(rows)
    present = [value for value in torch.unique(ids).tolist() if value]
    return SegmentationResult(ids, [{"id": value, "label_id": 10 * (value > 5), "score": 1.0} for value in present])


def test_ids_stay_with_their_objects():
    tracker = IdTracker(minimum_iou=0.3, memory=1)
    assert tracker(result_of([1, 1, 1, 0, 2, 2]))["segmentation"].tolist() == [[1, 1, 1, 0, 2, 2]]
    # The model numbers them the other way round; both move by one.
    assert tracker(result_of([0, 2, 2, 2, 0, 1]))["segmentation"].tolist() == [[0, 1, 1, 1, 0, 2]]
    # Another class at the same place is another object; number 1 is missing for a frame, and is remembered.
    assert tracker(result_of([0, 0, 0, 0, 0, 6]))["segmentation"].tolist() == [[0, 0, 0, 0, 0, 3]]
    again = tracker(result_of([0, 4, 4, 4, 0, 0]))
    assert again["segmentation"].tolist() == [[0, 1, 1, 1, 0, 0]] and again["segments_info"][0]["id"] == 1
    # Two frames are more than the memory.
    for _ in range(2):
        tracker(result_of([0, 0, 0, 0, 0, 0]))
    assert tracker(result_of([0, 4, 4, 4, 0, 0]))["segments_info"][0]["id"] == 4
    with pytest.raises(ValueError, match="minimum_iou is 0"):
        IdTracker(minimum_iou=0)


def test_ids_are_matched_by_the_best_sum():
    tracker = IdTracker()
    tracker(result_of([1, 1, 1, 1, 2, 2, 2, 2]))
    # Segment 1 overlaps both; greedy matching in order would give it track 1 and leave segment 2 with none.
    assert tracker(result_of([2, 2, 2, 1, 1, 1, 1, 1]))["segmentation"].tolist() == [[1, 1, 1, 2, 2, 2, 2, 2]]


def frames_of(count, size=(48, 32)):
    for index in range(count):
        frame = np.full((size[1], size[0], 3), 60, dtype=np.uint8)
        frame[8:24, 4 + 2 * index : 16 + 2 * index] = (220, 40, 40)
        yield Image.fromarray(frame)


def test_video_is_read_as_it_was_written(tmp_path):
    pytest.importorskip("av", reason="extra `video`")
    with VideoWriter(tmp_path / "a.mp4", Fraction(12)) as writer:
        for frame in frames_of(5, (47, 31)):  # sides become even
            writer.write(frame)
    reader = VideoReader(tmp_path / "a.mp4")
    frames = list(reader)
    assert len(frames) == 5 and frames[0].size == (48, 32) and reader.rate == 12
    red = [np.asarray(frame)[15, :, 0].astype(int) for frame in frames]
    assert [int(np.argmax(row > 150)) for row in red] == [4, 6, 8, 10, 12]
    with pytest.raises(ValueError, match=r"Frames of .*a\.mp4 have 48 x 32 pixels; the limit is 100"):
        VideoReader(tmp_path / "a.mp4", max_pixels=100)
