# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Processing of prompts and masks: prompts follow the image, and only masks that survive are made."""

import numpy as np
import pytest
import torch
from transformers import AutoImageProcessor

from hfseg import UnpairSegImageProcessor, UnpairSegImageProcessorPil
from unpairseg_inputs import OutputDict, outputs, photo

PROCESSORS = [UnpairSegImageProcessor, UnpairSegImageProcessorPil]


@pytest.mark.parametrize("cls", PROCESSORS)
def test_prompts_follow_the_image(cls, tmp_path):
    processor = cls(size={"longest_edge": 64})
    images = [photo(30, 60), photo(120, 40)]
    inputs = processor(images, input_points=[[[30, 15]], [[20, 60]]], return_tensors="pt")
    assert inputs["pixel_values"].shape == (2, 3, 64, 64)
    assert inputs["original_sizes"].tolist() == [[30, 60], [120, 40]]
    assert inputs["input_points"].shape == (2, 1, 1, 2)
    np.testing.assert_allclose(inputs["input_points"][:, 0, 0], [[32, 16], [20 * 21 / 40, 32]], rtol=1e-6)
    boxes = processor(images[0], input_boxes=[[0, 0, 60, 30], [-5, 10, 30, 99]], return_tensors="pt")["input_boxes"]
    np.testing.assert_allclose(boxes[0], [[0, 0, 64, 32], [0, 32 / 3, 32, 32]], rtol=1e-6)
    several = processor(images[0], input_points=[[[[1, 1], [2, 2]]]], input_labels=[[[1, 0]]], return_tensors="np")
    assert several["input_points"].shape == (1, 1, 2, 2) and several["input_labels"].tolist() == [[[1, 0]]]
    processor.save_pretrained(tmp_path)
    again = AutoImageProcessor.from_pretrained(tmp_path, backend="pil" if "Pil" in cls.__name__ else "torchvision")
    assert type(again) is cls and again.to_dict() == processor.to_dict()


def test_masks_without_names():
    label_map = np.zeros((30, 60), dtype=np.uint8)
    label_map[:10], label_map[20:] = 3, 255
    inputs = UnpairSegImageProcessor(size={"longest_edge": 64})(photo(30, 60), label_map, return_tensors="pt")
    (ids,) = inputs["mask_labels"]
    assert ids.shape == (64, 64) and ids.unique().tolist() == [0, 1] and "class_labels" not in inputs


@pytest.mark.parametrize("cls", PROCESSORS)
@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ({"input_points": [[70, 5]]}, r"Point \[70.0, 5.0\] is outside image 0: must be x in 0..60 and y in 0..30"),
        ({"input_points": [[float("nan"), 5]]}, "not finite"),
        ({"input_points": []}, "input_points"),
        ({"input_points": [[1, 2, 3]]}, "must hold 2 numbers"),
        ({"input_labels": [[1]]}, "without input_points"),
        ({"input_points": [[5, 5]], "input_labels": [[2]]}, "1 .on the object. or 0"),
        ({"input_boxes": [[10, 10, 5, 20]]}, "has no area inside image 0"),
        ({"input_boxes": [[70, 0, 90, 20]]}, "has no area inside image 0"),
        ({"input_points": [[5, 5]], "input_boxes": [[1, 1, 5, 5]]}, "not both"),
        ({"input_points": [[[1, 2]], [[1, 2], [3, 4]]]}, "cannot be stacked"),
    ],
    ids=str,
)
def test_bad_prompts(cls, prompts, message):
    with pytest.raises(ValueError, match=message):
        cls(size={"longest_edge": 64})(photo(30, 60), return_tensors="pt", **prompts)


def test_nothing_survives():
    processor = UnpairSegImageProcessor(size={"longest_edge": 64})
    result = outputs([0.1, 0.2, 0.3], batch_size=2)
    sizes = [(32, 64), (20, 20)]
    for index, size in enumerate(sizes):
        generated = processor.post_process_mask_generation(result, sizes)[index]
        assert generated["masks"].shape == (0, *size) and not len(generated["scores"])
        assert (processor.post_process_semantic_segmentation(result, target_sizes=sizes)[index] == 255).all()
        for task in ("panoptic", "instance"):
            found = getattr(processor, f"post_process_{task}_segmentation")(result, target_sizes=sizes)[index]
            assert found["segmentation"].shape == size and found["segments_info"] == []
    with pytest.raises(ValueError, match="2 images"):
        processor.post_process_mask_generation(result, [(32, 64)])


def test_masks_are_made_for_survivors_only():
    processor = UnpairSegImageProcessor(size={"longest_edge": 64})
    pixels, embeddings = torch.randn(1, 8, 16, 16), torch.randn(1, 5, 4, 8)
    scores = torch.rand(1, 5, 4)
    lazy = OutputDict(pixel_embedding=pixels, mask_embeddings=embeddings, iou_scores=scores, pred_masks=None)
    full = OutputDict(iou_scores=scores, pred_masks=torch.einsum("bqmc,bchw->bqmhw", embeddings, pixels))
    for options in ({}, {"stability_threshold": 0.5}, {"min_area": 20}, {"nms_rule": "and"}):
        first, second = (
            processor.post_process_mask_generation(o, [(40, 64)], score_threshold=0.4, **options)[0]
            for o in (lazy, full)
        )
        assert first["indices"].tolist() == second["indices"].tolist() and len(first["indices"])
        assert (first["masks"] != second["masks"]).float().mean() < 1e-3
    with pytest.raises(ValueError, match="NMS rule 'nms' is unknown"):
        processor.post_process_mask_generation(full, [(40, 64)], nms_rule="nms")
