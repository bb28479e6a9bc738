# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""UniSegFormer's image processor in pipelines and in tiles."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import pipeline

from contract import peaked
from hfseg import UniSegFormerForSemanticSegmentation, UniSegFormerForUniversalSegmentation, UniSegFormerImageProcessor
from hfseg.inference import sliding_window_segmentation, tiled_panoptic_segmentation
from unisegformer_models import tiny_config

SIZE = {"shortest_edge": 48, "longest_edge": 96}


def folder_of(cls, path, **fields):
    model = peaked(cls(tiny_config(**fields)))
    model.save_pretrained(path)
    UniSegFormerImageProcessor(size=SIZE, threshold=0.0, overlap_mask_area_threshold=0.0).save_pretrained(path)
    return model


@pytest.fixture
def image():
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 70, 3), dtype=np.uint8))


def test_three_subtasks_from_one_folder(tmp_path, image):
    folder_of(UniSegFormerForUniversalSegmentation, tmp_path)
    segmenter = pipeline("image-segmentation", model=str(tmp_path))
    assert type(segmenter.model) is UniSegFormerForUniversalSegmentation
    found = {task: segmenter(image, subtask=task) for task in ("panoptic", "instance", "semantic")}
    for segments in found.values():
        assert segments and all(segment["mask"].size == (70, 40) for segment in segments)
    covered = sum(np.asarray(segment["mask"]) > 0 for segment in found["semantic"])
    assert (covered == 1).all()  # every pixel has one class


def test_images_larger_than_the_crop_go_in_tiles(tmp_path):
    """Windows and tiles of both heads: one of the image's size is the direct prediction, small ones cover it all."""
    folder_of(UniSegFormerForUniversalSegmentation, tmp_path / "universal")
    universal = pipeline("image-segmentation", model=str(tmp_path / "universal"))
    folder_of(UniSegFormerForSemanticSegmentation, tmp_path / "semantic")
    semantic = pipeline("image-segmentation", model=str(tmp_path / "semantic"))
    large = np.random.default_rng(0).integers(0, 255, (96, 160, 3), dtype=np.uint8)
    whole = {"window": (96, 160), "kind": "logits"}
    processor = semantic.image_processor
    inputs = processor(large, do_resize=False, return_tensors="pt")
    with torch.no_grad():
        outputs = semantic.model(**inputs)
    direct = processor.post_process_semantic_segmentation(outputs, [(96, 160)], image_sizes=[(96, 160)])[0]
    one = sliding_window_segmentation(large, semantic.model, processor, do_resize=False, **whole)
    assert (one == direct).float().mean() > 0.999
    for segmenter in (semantic, universal):
        classes = sliding_window_segmentation(
            large, segmenter.model, segmenter.image_processor, window=64, stride=48, do_resize=False
        )
        assert classes.shape == (96, 160) and 0 <= classes.min() and classes.max() < 5
    settings = {"threshold": 0.0, "overlap_mask_area_threshold": 0.0}
    tiled = tiled_panoptic_segmentation(large, universal.model, universal.image_processor, tile=64, **settings)
    ids = [segment["id"] for segment in tiled["segments_info"]]
    assert tiled["segmentation"].shape == (96, 160) and ids == list(range(1, len(ids) + 1)) and ids
    assert set(np.unique(tiled["segmentation"])) <= {0, *ids}
