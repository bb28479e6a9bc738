# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Compact results: run lengths against pycocotools and by hand, lazily drawn masks, COCO entries, dict behaviour."""

import copy
import json
import pickle

import numpy as np
import pytest
import torch

from hfseg.postprocess import pack_masks
from hfseg.results.segmentation_result import SegmentationResult, decode_run_lengths, encode_run_lengths

CASES = [(1, 1, 0.5), (1, 1, -1), (7, 9, 0.5), (60, 80, 0.02), (60, 80, 2.0), (1, 5000, 0.3), (5000, 1, 0.001)]


def random_mask(height, width, density):
    return np.random.default_rng(height * width).random((height, width)) < density


@pytest.fixture
def panoptic():
    id_map = torch.tensor([[0, 1, 1, 0], [2, 2, 1, 0], [2, 2, 3, 3]], dtype=torch.int32)
    segments = [{"id": i, "label_id": 10 * i, "score": 1 / i, "was_fused": False} for i in (1, 2, 3)]
    return SegmentationResult(id_map, segments)


@pytest.fixture
def overlapping():
    masks = torch.zeros(2, 3, 11, dtype=torch.bool)
    masks[0, :2, 2:9] = True
    masks[1, 1:, 4:] = True
    id_map = torch.where(masks[0], 1, torch.where(masks[1], 2, 0)).int()
    segments = [{"id": i, "label_id": i % 2, "score": 0.5} for i in (1, 2, 3)]
    # The third instance shares the first one's mask (same query, other class).
    return SegmentationResult(id_map, segments, pack_masks(masks), [0, 1, 0]), masks[[0, 1, 0]]


@pytest.mark.parametrize("case", CASES)
def test_run_lengths_equal_pycocotools(case):
    coco = pytest.importorskip("pycocotools.mask")
    mask = random_mask(*case)
    reference = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert encode_run_lengths(mask, compressed=True)["counts"].encode() == reference["counts"]
    plain = encode_run_lengths(mask)
    assert coco.frPyObjects(plain, *mask.shape)["counts"] == reference["counts"]
    (entry,) = SegmentationResult(torch.from_numpy(mask.astype(np.int32)), [{"id": 1, "label_id": 4}]).to_coco(9)
    assert entry["segmentation"]["counts"].encode() == reference["counts"]
    assert entry["area"] == coco.area(reference)
    assert entry["bbox"] == coco.toBbox(reference).tolist()


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_run_lengths_round_trip(case, compressed):
    mask = random_mask(*case)
    encoded = json.loads(json.dumps(encode_run_lengths(torch.from_numpy(mask), compressed)))
    assert np.array_equal(decode_run_lengths(encoded), mask)


def test_run_lengths_by_hand():
    mask = np.array([[0, 1], [0, 1], [1, 0]], dtype=bool)
    assert encode_run_lengths(mask) == {"size": [3, 2], "counts": [2, 3, 1]}  # columns first, zeros first
    assert encode_run_lengths(~mask)["counts"] == [0, 2, 3, 1]


def test_run_lengths_of_wrong_length_are_refused():
    with pytest.raises(ValueError, match="add up to 5"):
        decode_run_lengths({"size": [2, 3], "counts": [2, 3]})
    with pytest.raises(ValueError, match=r"must be \(H, W\)"):
        encode_run_lengths(np.zeros((1, 2, 3)))


def test_panoptic_masks_are_those_of_the_id_map(panoptic):
    masks = panoptic.binary_masks()
    assert masks.shape == (3, 3, 4)
    for index, run_lengths in enumerate(panoptic.run_length_masks()):
        expected = panoptic["segmentation"] == index + 1
        assert torch.equal(masks[index], expected)
        assert np.array_equal(decode_run_lengths(run_lengths), expected.numpy())
        assert np.array_equal(np.asarray(panoptic.masks[index]), expected.numpy() * 255)


def test_overlapping_masks_are_kept_whole(overlapping):
    result, masks = overlapping
    assert torch.equal(result.binary_masks(), masks)
    for index, run_lengths in enumerate(result.run_length_masks(compressed=True)):
        assert np.array_equal(decode_run_lengths(run_lengths), masks[index].numpy())
    # The id map alone would lose what the first instance covers.
    assert int((result["segmentation"] == 2).sum()) < int(masks[1].sum())


def test_masks_are_a_lazy_sequence(panoptic):
    masks = panoptic.masks
    assert len(masks) == 3
    assert [mask.mode for mask in masks] == ["L"] * 3 and masks[-1].size == (4, 3)
    assert len(masks[1:]) == 2
    with pytest.raises(IndexError):
        masks[3]


def test_it_is_the_dict_of_transformers(panoptic):
    assert isinstance(panoptic, dict) and set(panoptic) == {"segmentation", "segments_info"}
    for other in (copy.deepcopy(panoptic), pickle.loads(pickle.dumps(panoptic))):
        assert torch.equal(other["segmentation"], panoptic["segmentation"])
        assert other.segments_info == panoptic["segments_info"] and len(other.masks) == 3


def test_coco_entries(panoptic):
    entries = panoptic.to_coco(42, category_ids={10: 1, 20: 7, 30: 90}, first_id=100)
    assert [entry["category_id"] for entry in entries] == [1, 7, 90]
    assert [entry["id"] for entry in entries] == [100, 101, 102]
    assert [entry["bbox"] for entry in entries] == [[1, 0, 2, 2], [0, 1, 2, 2], [2, 2, 2, 1]]
    assert [entry["area"] for entry in entries] == [3, 4, 2]
    assert all(entry["image_id"] == 42 and entry["iscrowd"] == 0 for entry in entries)
    json.dumps(entries)
    with pytest.raises(ValueError, match="no entry for label id 20"):
        panoptic.to_coco(42, category_ids={10: 1})


def test_empty_result():
    result = SegmentationResult(torch.zeros(4, 5, dtype=torch.int32), [])
    assert result.run_length_masks() == [] and result.to_coco(1) == [] and list(result.masks) == []
    assert result.binary_masks().shape == (0, 4, 5)


def test_empty_mask_has_an_empty_box():
    result = SegmentationResult(torch.zeros(4, 5, dtype=torch.int32), [{"id": 1, "label_id": 0, "score": 0.0}])
    (entry,) = result.to_coco(1)
    assert entry["area"] == 0 and entry["bbox"] == [0, 0, 0, 0]
