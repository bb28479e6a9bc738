# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Every pipeline takes paths, PIL images, arrays and tensors, lists and generators, batches and workers: one result."""

import logging

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import pipeline

import hfseg
from hfseg.pipelines.inputs import image_of_array
from hfseg.results.segment_list import SegmentList
from tiny_zoo import image as photo
from tiny_zoo import model_folder

CALLS = {
    "proscale": ("image-segmentation", {"threshold": 0.0, "overlap_mask_area_threshold": 0.0}),
    "vpnext": ("image-segmentation", {}),
    "unisegformer_semantic": ("image-segmentation", {}),
    "meddensevit": ("image-segmentation", {}),
    "cris": ("referring-image-segmentation", {"text": ["the red star", "the circle"], "threshold": 0.01}),
    "unpairseg": ("open-vocabulary-segmentation", {"candidate_labels": ["a b, c", "d"], "threshold": 0.0}),
    "unpairseg_masks": ("mask-generation", {}),
}


@pytest.fixture(scope="session")
def zoo(tmp_path_factory):
    return tmp_path_factory.mktemp("zoo")


def entries(found):
    """Label, score and mask of every segment."""
    if isinstance(found, dict):
        return [(None, float(score), mask) for score, mask in zip(found["scores"], found["masks"])]
    assert isinstance(found, SegmentList) and len(found.result) == len(found)
    return [(entry["label"], entry["score"] or 0.0, np.asarray(entry["mask"]) > 0) for entry in found]


def check_same(results, expected):
    """Equal but for the rounding of a batch, by which a pixel between two classes may change sides."""
    results = list(results)
    assert len(results) == len(expected)
    for one, other in zip(results, expected):
        one, other = entries(one), entries(other)
        assert [entry[0] for entry in one] == [entry[0] for entry in other]
        assert np.allclose([entry[1] for entry in one], [entry[1] for entry in other], atol=1e-4)
        assert all((a[2] != b[2]).mean() < 1e-3 for a, b in zip(one, other))


@pytest.mark.parametrize("name", CALLS)
def test_many_images_are_as_one_by_one(zoo, name, tmp_path):
    task, call = CALLS[name]
    pipe = pipeline(task, model=str(model_folder(name, zoo)))
    images = [photo(60, 90), photo(48, 50, seed=1), photo(60, 90, seed=2)]
    expected = [pipe(image, **call) for image in images]
    assert any(entries(found) for found in expected)
    check_same(pipe(images, **call), expected)
    check_same(pipe(images, batch_size=2, **call), expected)
    check_same(pipe((image for image in images), batch_size=2, **call), expected)
    check_same(pipe(images, batch_size=2, num_workers=1, **call), expected)
    check_same(pipe((image for image in images), num_workers=2, **call), expected)
    array = np.asarray(images[0])
    for form in (array, torch.from_numpy(array.copy()), array.transpose(2, 0, 1), torch.from_numpy(array / 255)):
        check_same([pipe(form, **call)], expected[:1])
    check_same(pipe([array, images[1]], batch_size=2, **call), expected[:2])
    images[0].save(tmp_path / "a.png")
    check_same([pipe(str(tmp_path / "a.png"), **call)], expected[:1])


def test_no_model_of_ours_is_said_to_be_unsupported(zoo):
    records = []
    handler = logging.Handler()
    handler.emit = records.append
    logger = logging.getLogger("transformers.pipelines.base")
    logger.addHandler(handler)
    try:
        for name, (task, _) in CALLS.items():
            pipeline(task, model=str(model_folder(name, zoo)))
    finally:
        logger.removeHandler(handler)
    assert [record.getMessage()[:80] for record in records if record.levelno >= logging.ERROR] == []


@pytest.mark.parametrize("prompts", [{}, {"input_points": [[10, 10], [50, 20]]}, {"input_boxes": [[0, 0, 20, 20]]}])
def test_masks_have_one_shape_for_every_kind_of_prompt(zoo, prompts):
    pipe = pipeline("mask-generation", model=str(model_folder("unpairseg_masks", zoo)))
    found = pipe(photo(), output_rle_mask=True, **prompts)
    assert found["masks"] and all(mask.shape == (60, 90) and mask.dtype == bool for mask in found["masks"])
    assert found["scores"].shape == (len(found["masks"]),) and len(found["rle_mask"]) == len(found["masks"])
    if prompts:
        (given,) = prompts.values()
        assert len(found["masks"]) == len(given)
        several = pipe(photo(), multimask_output=True, **prompts)
        each = len(several["masks"]) // len(given)
        for index in range(len(given)):
            scores = several["scores"][index * each : (index + 1) * each]
            best = index * each + int(scores.argmax())
            assert found["scores"][index] == several["scores"][best]
            assert np.array_equal(found["masks"][index], several["masks"][best])


def test_instances_are_those_above_the_processors_threshold(zoo):
    for name, call in (("proscale", {}), ("unpairseg", {"candidate_labels": ["a", "b"]})):
        pipe = pipeline(CALLS[name][0], model=str(model_folder(name, zoo)))
        processor = pipe.image_processor or pipe.processor.image_processor
        everything = pipe(photo(), subtask="instance", threshold=0.0, **call)
        scores = sorted(entry["score"] for entry in everything)
        processor.threshold = scores[len(scores) // 2]
        found = pipe(photo(), subtask="instance", **call)
        assert len(found) == sum(score >= processor.threshold for score in scores) < len(everything)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 5), dtype=np.uint8),
        np.zeros((4, 5, 1), dtype=np.uint8),
        np.zeros((4, 5, 3), dtype=np.float32),
        np.zeros((4, 5, 4), dtype=np.int64),
        np.zeros((3, 4, 5), dtype=np.uint16),
        torch.zeros(1, 4, 5),
        torch.zeros(4, 5, dtype=torch.bool),
    ],
)
def test_arrays_become_images(array):
    image = image_of_array(array)
    assert isinstance(image, Image.Image) and image.size == (5, 4)


def test_deep_values_are_kept_where_the_processor_wants_them():
    values = np.arange(20, dtype=np.uint16).reshape(4, 5) * 3000
    assert np.array_equal(np.asarray(image_of_array(values, deep=True)), values)
    assert image_of_array(values.astype(np.float32) - 9, deep=True).mode == "F"
    assert np.asarray(image_of_array(np.float32([[0, 0.5, 1]]))).tolist() == [[0, 128, 255]]


@pytest.mark.parametrize(
    "array",
    [np.zeros((2, 3, 4, 5)), np.zeros((7, 5, 2)), np.zeros((0, 5)), np.full((4, 5), 200.0), np.full((4, 5), -1)],
)
def test_other_arrays_are_refused(array):
    with pytest.raises(ValueError, match="image"):
        image_of_array(array)


@pytest.mark.parametrize("task, name", [
    ("image-segmentation", "proscale-tiny-shapes"), ("open-vocabulary-segmentation", "unpairseg-tiny-shapes"),
    ("mask-generation", "unpairseg-tiny-shapes"), ("referring-image-segmentation", "cris-tiny-shapes"),
])  # fmt: skip
def test_nothing_to_run_on(task, name):
    pipe = pipeline(task, model=str(hfseg.checkpoint(name)))
    asked = {"referring-image-segmentation": {"text": "a"}, "open-vocabulary-segmentation": {"candidate_labels": ["a"]}}
    with pytest.raises(ValueError, match="list of images is empty"):
        pipe([], **asked.get(task, {}))


@pytest.mark.parametrize("name", ["threshold", "overlap_mask_area_threshold", "mask_threshold"])
@pytest.mark.parametrize("value", [2.0, -0.1, float("nan")])
def test_thresholds_that_nothing_or_everything_passes(name, value):
    pipe = pipeline("image-segmentation", model=str(hfseg.checkpoint("proscale-tiny-shapes")))
    image = Image.new("RGB", (64, 64), "red")
    for subtask in ("panoptic", "instance"):
        if (subtask, name) == ("instance", "overlap_mask_area_threshold"):
            continue  # instances may overlap
        with pytest.raises(ValueError, match=f"{name} must lie between 0 and 1"):
            pipe(image, subtask=subtask, **{name: value})


def test_sizes_that_do_not_fit_into_memory():
    pipe = pipeline("image-segmentation", model=str(hfseg.checkpoint("vpnext-tiny-shapes")))
    for scale, message in ((1e6, "pixels are read"), (float("nan"), "positive"), (float("inf"), "positive")):
        with pytest.raises(ValueError, match=message):
            pipe(Image.new("RGB", (64, 64)), subtask="semantic", tta={"scales": [scale]})
    pipe = pipeline("mask-generation", model=str(hfseg.checkpoint("unpairseg-tiny-shapes")))
    for points in (0, -3, 10**6):
        with pytest.raises(ValueError, match=r"points_per_side.*1"):
            pipe(Image.new("RGB", (64, 64)), points_per_side=points)


def test_names_that_are_one_to_the_text_encoder():
    pipe = pipeline("open-vocabulary-segmentation", model=str(hfseg.checkpoint("unpairseg-tiny-shapes")))
    for names in (["circle", "Circle"], ["red  circle", "red circle"], {"a&amp;b": ["x"], "a&b": ["y"]}):
        with pytest.raises(ValueError, match="twice"):
            pipe(Image.new("RGB", (64, 64)), candidate_labels=names)


def test_words_that_the_tokenizer_spells(caplog):
    pipe = pipeline("referring-image-segmentation", model=str(hfseg.checkpoint("cris-tiny-shapes")))
    image = Image.new("RGB", (64, 64), "red")
    with caplog.at_level("WARNING"):
        pipe(image, text="the red circle left of the star")
        assert "does not know" not in caplog.text
        pipe(image, text=["the qwrt circle", "красный"])
    assert "does not know 'qwrt'" in caplog.text and "does not know 'красный'" in caplog.text
