# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Compact results: run lengths against pycocotools and by hand, lazily drawn masks, COCO entries, dict behavior."""

import copy
import json
import pickle
import sys
import types

import numpy as np
import pytest
import torch
from PIL import Image

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


def test_segments_have_the_names_people_look_for(overlapping):
    result, masks = overlapping
    assert len(result) == 3 and result
    first, second, third = result.segments
    assert (first.id, first.label_id, first.label, first.score, first.index) == (1, 1, "1", 0.5, 0)
    assert first.box == (2.0, 0.0, 9.0, 2.0) and first.area == 14 == third.area
    assert second.box == (4.0, 1.0, 11.0, 3.0)
    assert np.array_equal(second.mask, masks[1].numpy())
    named = SegmentationResult(result.segmentation, result.segments_info, id2label={0: "cat"})
    assert [segment.label for segment in named.segments] == ["1", "cat", "1"]
    assert [info["label"] for info in named.segments_info] == ["1", "cat", "1"]
    assert "cat" in repr(named.segments[1])


def test_masks_that_overlap_are_joined_and_the_best_is_on_top():
    masks = [np.zeros((2, 4), dtype=bool) for _ in range(3)]
    masks[0][:, :3], masks[1][:, 2:], masks[2][0, 0] = True, True, True
    result = SegmentationResult.from_masks(masks, [5, 6, 7], [0.9, 0.4, None], (2, 4))
    assert result.segmentation.tolist() == [[1, 1, 1, 2], [1, 1, 1, 2]]
    assert [np.array_equal(result.mask(index), masks[index]) for index in range(3)] == [True] * 3
    apart = SegmentationResult.from_masks([masks[0], ~masks[0]], [1, 2], [0.1, 0.2], (2, 4))
    assert apart.packed_masks is None


def test_class_maps_become_segments_with_fixed_ids():
    class_map = torch.tensor([[0, 2, 2], [-1, 9, 0]])
    result = SegmentationResult.from_class_map(class_map, {0: "a", 1: "b", 2: "c"})
    assert result.segmentation.tolist() == [[1, 3, 3], [0, 0, 1]]
    assert [(s["id"], s["label_id"], s["label"], s["score"]) for s in result.segments_info] == [
        (1, 0, "a", None),
        (3, 2, "c", None),
    ]
    everything = SegmentationResult.from_class_map(class_map.numpy())
    assert everything.segmentation.tolist() == [[1, 3, 3], [0, 10, 1]]
    assert len(SegmentationResult.from_class_map(torch.full((2, 2), -1))) == 0


def test_plots_have_the_images_size_and_a_legend_on_request(panoptic, tmp_path):
    result = SegmentationResult(
        panoptic.segmentation.repeat_interleave(20, 0).repeat_interleave(20, 1), panoptic.segments_info
    )
    assert result.plot().size == (80, 60)
    wide = result.plot(legend=True)
    assert wide.width > 80 and wide.height == 60
    image = Image.new("RGB", (80, 60), (10, 200, 10))
    result.image = image
    plotted = result.plot(draw_labels=False)
    assert plotted.getpixel((70, 10)) == (10, 200, 10)  # nothing there
    assert len({plotted.getpixel(place) for place in ((30, 10), (10, 40), (70, 50))}) == 3
    assert result.save(tmp_path / "x.png") == tmp_path / "x.png"
    with Image.open(tmp_path / "x.png") as saved:
        assert np.array_equal(np.asarray(saved), np.asarray(result.plot()))
    image.save(tmp_path / "image.png")
    assert np.array_equal(np.asarray(result.plot(tmp_path / "image.png")), np.asarray(result.plot()))
    result.save(tmp_path / "x.json")
    assert json.loads((tmp_path / "x.json").read_text()) == result.to_coco(1) == result.to_coco()
    with pytest.raises(ValueError, match="must end in"):
        result.save(tmp_path / "x.exe")


def test_tables_for_other_tools(overlapping, monkeypatch):
    result, masks = overlapping
    pandas = pytest.importorskip("pandas")
    table = result.to_pandas()
    assert isinstance(table, pandas.DataFrame) and table["area"].tolist() == [14, 14, 14]
    assert table.loc[1, ["x0", "y0", "x1", "y1"]].tolist() == [4, 1, 11, 3]
    assert len(SegmentationResult(torch.zeros(2, 2, dtype=torch.int32), []).to_pandas()) == 0
    supervision = types.ModuleType("supervision")
    supervision.Detections = types.SimpleNamespace
    monkeypatch.setitem(sys.modules, "supervision", supervision)
    detections = result.to_supervision()
    assert detections.xyxy.tolist() == [[2, 0, 9, 2], [4, 1, 11, 3], [2, 0, 9, 2]]
    assert np.array_equal(detections.mask, masks.numpy()) and detections.class_id.tolist() == [1, 0, 1]
    assert detections.data["class_name"].tolist() == ["1", "0", "1"]
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(ImportError, match="pip install supervision"):
        result.to_supervision()
