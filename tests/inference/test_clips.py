# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What a segmented video leaves behind: ids that stay, or stay as they are; frames before a damage; what was cut."""

import json
from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image

from hfseg.inference.clips import segment_video
from hfseg.inference.predictor import Prediction
from hfseg.results.segmentation_result import SegmentationResult

pytest.importorskip("av", reason="extra `video`")

SIZE = (32, 16)  # width, height


class Clip:
    """Three frames; after `whole` of them the file is damaged."""

    rate = Fraction(5)

    def __init__(self, whole: int = 3) -> None:
        self.whole = whole

    def __iter__(self):
        for index in range(3):
            if index == self.whole:
                raise ValueError("clip.mp4 is damaged after frame 2")
            yield Image.new("RGB", SIZE, (index, 0, 0))


def ask(image: Image.Image) -> Prediction:
    """Finds a cat on the left and a dog on the right, and numbers them the other way round in every second frame."""
    swapped = image.getpixel((0, 0))[0] % 2 == 1
    ids = torch.ones(SIZE[1], SIZE[0], dtype=torch.int64)
    ids[:, : SIZE[0] // 2] = 2
    if swapped:
        ids = 3 - ids
    cat, dog = (1, 2) if swapped else (2, 1)
    segments = [{"id": cat, "label_id": 0, "score": 0.9}, {"id": dog, "label_id": 1, "score": 0.8}]
    return Prediction(image, SegmentationResult(ids, segments), {0: "cat", 1: "dog"})


def ids_of_cats(folder, frames):
    return [{s["label"]: s["id"] for s in frame["segments"]}["cat"] for frame in frames]


@pytest.mark.parametrize("track, stable", [(True, True), (False, False)])
def test_ids_are_followed_only_if_asked(tmp_path, track, stable):
    done = segment_video(Clip(), ask, tmp_path, "clip", {}, track=track)
    cats = ids_of_cats(tmp_path, done.frames)
    assert (len(set(cats)) == 1) is stable
    for index, cat in enumerate(cats):  # the image of ids says what the record says
        with Image.open(tmp_path / f"clip_ids/{index:06d}.png") as image:
            assert (np.asarray(image)[:, : SIZE[0] // 2] == cat).all()
    assert len(done.objects) == (2 if stable else 4)
    assert json.loads((tmp_path / "clip.json").read_text())["frames"] == done.frames


def test_a_damaged_file_keeps_what_came_before(tmp_path):
    done = segment_video(Clip(whole=2), ask, tmp_path, "clip", {})
    assert done.broken == "clip.mp4 is damaged after frame 2" and not done.cut and len(done.frames) == 2
    assert len(list((tmp_path / "clip_ids").iterdir())) == 2
    with pytest.raises(ValueError, match="damaged"):
        segment_video(Clip(whole=0), ask, tmp_path, "nothing", {})


@pytest.mark.parametrize("limit, cut", [(2, True), (3, False), (9, False)])
def test_limit_of_frames(tmp_path, limit, cut):
    done = segment_video(Clip(), ask, tmp_path, "clip", {}, max_frames=limit)
    assert (len(done.frames), done.cut, done.broken) == (min(limit, 3), cut, None)
    # What lies behind the limit may be damaged without harm.
    assert segment_video(Clip(whole=2), ask, tmp_path, "clip", {}, max_frames=2).broken is None
