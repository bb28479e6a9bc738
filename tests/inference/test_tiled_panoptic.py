# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Panoptic tiles against the whole image: segments that go through two tiles are one."""

import functools

import numpy as np
import pytest
import torch

import oracle
from hfseg.inference import tiled_panoptic_segmentation
from window_models import Counting, plain

color_oracle = functools.partial(oracle.color_oracle, stride=4)


def canonical(result):
    """Set of (class, pixels) of the segments, free of their ids."""
    segmentation = np.asarray(result["segmentation"])
    return {(s["label_id"], (segmentation == s["id"]).tobytes()) for s in result["segments_info"]}


@pytest.mark.parametrize("height, width, tile, overlap", [(160, 224, 64, 16), (160, 224, (96, 64), (32, 24))])
@pytest.mark.parametrize("seed", range(3))
def test_tiles_of_an_oracle_give_the_segments_of_the_whole(height, width, tile, overlap, seed):
    image = oracle.image_of(oracle.scene(height, width, seed))
    inputs = plain(image, return_tensors="pt")["pixel_values"].float()
    whole = plain.post_process_panoptic_segmentation(color_oracle(inputs), target_sizes=[(height, width)])[0]
    predict = Counting(color_oracle)
    tiled = tiled_panoptic_segmentation(image, predict, plain, tile=tile, overlap=overlap, batch_size=2)
    assert len(predict.shapes) > 4
    assert canonical(tiled) == canonical(whole)
    assert [segment["id"] for segment in tiled["segments_info"]] == list(range(1, len(whole["segments_info"]) + 1))
    for segment in tiled["segments_info"]:
        assert segment["area"] == int((tiled["segmentation"] == segment["id"]).sum())
        assert segment["was_fused"] == (segment["label_id"] == 3)
        assert segment["score"] == pytest.approx(1, abs=1e-6)


def test_one_tile_is_the_direct_prediction():
    image = oracle.image_of(oracle.scene(64, 96))
    inputs = plain(image, return_tensors="pt")["pixel_values"].float()
    whole = plain.post_process_panoptic_segmentation(color_oracle(inputs), target_sizes=[(64, 96)])[0]
    tiled = tiled_panoptic_segmentation(image, color_oracle, plain, tile=200)
    assert torch.equal(tiled["segmentation"], whole["segmentation"])
    assert [s["area"] for s in tiled["segments_info"]] == [s["area"] for s in whole["segments_info"]]


def test_touching_objects_of_one_class_stay_apart_and_other_classes_are_not_joined():
    """Two things of class 0 (colors 0 and 3) meet inside the shared strip; a third of class 1 lies beside them."""
    image = np.full((64, 112, 3), oracle.COLORS - 1, dtype=np.uint8)
    image[8:40, :52, 0], image[8:40, 52:, 0], image[40:56, :, 0] = 0, 3, 1
    tiled = tiled_panoptic_segmentation(image, color_oracle, plain, tile=64, overlap=16)
    segmentation = np.asarray(tiled["segmentation"])
    assert sorted(s["label_id"] for s in tiled["segments_info"]) == [0, 0, 1, 3]
    assert segmentation[20, 30] != segmentation[20, 80]
    assert segmentation[50, 2] == segmentation[50, 110]


def test_the_shared_strip_decides_by_class_and_iou():
    """A bar through two tiles, of which the second (it has some green) sees half the height, or another class."""
    image = np.full((64, 112, 3), oracle.COLORS - 1, dtype=np.uint8)
    image[8:40, :, 0], image[:, 100:, 1], image[..., 2] = 3, 9, 0
    image[:, :100, 1] = 0

    def half(pixel_values):
        if pixel_values[:, 1].max() > 0:
            pixel_values = pixel_values.clone()
            pixel_values[:, 0, 24:40] = oracle.COLORS - 1
        return color_oracle(pixel_values)

    def renamed(pixel_values):
        outputs = color_oracle(pixel_values)
        if pixel_values[:, 1].max() > 0:
            outputs["class_queries_logits"] = outputs["class_queries_logits"][:, :, [1, 0, 2, 3, 4]]
        return outputs

    def things(predict, **settings):
        result = tiled_panoptic_segmentation(image, predict, plain, tile=64, overlap=16, **settings)
        return sorted(segment["label_id"] for segment in result["segments_info"] if segment["label_id"] != 3)

    assert things(color_oracle) == [0]
    assert things(half) == things(half, merge_iou=0.5) == [0]  # 16 of 32 rows
    assert things(half, merge_iou=0.51) == [0, 0]
    assert things(renamed) == [0, 1]


def test_without_overlap_things_are_cut_and_stuff_is_not():
    tiled = tiled_panoptic_segmentation(oracle.image_of(oracle.scene(64, 128)), color_oracle, plain, tile=64, overlap=0)
    labels = [segment["label_id"] for segment in tiled["segments_info"]]
    assert labels.count(3) == 1
    wide = [s for s in tiled["segments_info"] if s["label_id"] == 0]
    assert len(wide) >= 2


@pytest.mark.parametrize("unsure_tile", ["first", "second"])
def test_an_object_of_two_tiles_is_as_sure_as_the_surer_part(unsure_tile):
    """A bar through two tiles, of which the second has some green."""
    image = np.full((64, 112, 3), oracle.COLORS - 1, dtype=np.uint8)
    image[8:40, :, 0], image[:, 100:, 1], image[..., 2] = 3, 9, 0
    image[:, :100, 1] = 0

    def predict(pixel_values):
        outputs = color_oracle(pixel_values)
        second = bool(pixel_values[:, 1].max() > 0)
        if second == (unsure_tile == "second"):
            outputs["class_queries_logits"] = outputs["class_queries_logits"] / 5  # e^4 against four times 1
        return outputs

    result = tiled_panoptic_segmentation(image, predict, plain, tile=64, overlap=16)
    (thing,) = [segment for segment in result["segments_info"] if segment["label_id"] == 0]
    assert thing["score"] == pytest.approx(1, abs=1e-6)
