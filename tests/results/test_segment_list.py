# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The list that pipelines return: a list of dicts like any other, whose masks are drawn when they are looked at."""

import copy
import io
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from hfseg.results.segment_list import LazyMask, SegmentList
from hfseg.results.segmentation_result import SegmentationResult


@pytest.fixture
def result():
    id_map = torch.tensor([[0, 1, 1, 0], [2, 2, 1, 0], [2, 2, 3, 3]], dtype=torch.int32)
    segments = [{"id": i, "label_id": i, "score": 1 / i} for i in (1, 2, 3)]
    return SegmentationResult(id_map, segments, id2label={1: "one", 2: "two", 3: "three"})


def test_it_is_the_list_of_transformers(result):
    found = SegmentList(result)
    assert isinstance(found, list) and len(found) == 3 and found.result is result
    assert [entry["label"] for entry in found] == ["one", "two", "three"]
    assert all(type(entry) is dict and set(entry) == {"score", "label", "mask"} for entry in found)
    assert all(entry["mask"].mode == "L" and entry["mask"].size == (4, 3) for entry in found)
    for index, entry in enumerate(found):
        assert np.array_equal(np.asarray(entry["mask"]), 255 * result.mask(index).view(np.uint8))
    assert SegmentList(SegmentationResult(torch.zeros(2, 2, dtype=torch.int32), [])) == []


def test_masks_are_drawn_when_their_pixels_are_read():
    drawn = []

    def draw():
        drawn.append(1)
        return Image.fromarray(np.array([[0, 255], [255, 0]], dtype=np.uint8))

    mask = LazyMask(draw, (2, 2))
    assert mask.size == (2, 2) and mask.mode == "L" and not drawn
    assert np.asarray(mask).tolist() == [[0, 255], [255, 0]] and np.asarray(mask).sum() == 510
    assert drawn == [1]


@pytest.mark.parametrize(
    "read",
    [
        lambda mask: mask.resize((8, 8), Image.Resampling.NEAREST).getbbox(),
        lambda mask: mask.convert("1").getbbox(),
        lambda mask: mask.point(lambda value: value // 2).getextrema(),
        lambda mask: mask.copy().tobytes(),
        lambda mask: mask.getpixel((1, 0)),
        lambda mask: mask.crop((0, 0, 1, 2)).tobytes(),
        lambda mask: mask.transpose(Image.Transpose.ROTATE_90).tobytes(),
        lambda mask: pickle.loads(pickle.dumps(mask)).tobytes(),
        lambda mask: copy.deepcopy(mask).tobytes(),
        lambda mask: mask.save(buffer := io.BytesIO(), "PNG") or buffer.getvalue(),
        lambda mask: Image.composite(Image.new("L", (2, 2), 9), Image.new("L", (2, 2), 5), mask).tobytes(),
        lambda mask: mask == mask.copy(),
        lambda mask: mask.histogram(),
    ],
)
def test_a_lazy_mask_does_what_an_image_does(read):
    plain = Image.fromarray(np.array([[0, 255], [255, 0]], dtype=np.uint8))
    assert read(LazyMask(lambda: plain.copy(), (2, 2))) == read(plain.copy())


def test_copies(result):
    for other in (pickle.loads(pickle.dumps(SegmentList(result))), copy.deepcopy(SegmentList(result))):
        assert [entry["label"] for entry in other] == ["one", "two", "three"]
        assert np.array_equal(np.asarray(other[1]["mask"]) > 0, result.mask(1))
